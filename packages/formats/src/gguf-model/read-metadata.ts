import { HalftoneError, type MetadataValue } from '@halftone/tensor';
import { LIMITS } from './config-fields.js';

const WHERE = 'gguf-model';

type Metadata = ReadonlyMap<string, MetadataValue>;

/**
 * A whole number from 1 to `most`. A list is accepted when all its values agree: some files give per-layer numbers.
 * Throws `FORMAT` when the key is missing without `fallback` or absurd, `UNSUPPORTED` when layers differ.
 */
export function wholeNumberAt(metadata: Metadata, key: string, most: number, fallback?: number): number {
  const value = metadata.get(key) ?? fallback;
  if (value !== undefined && typeof value === 'object') return uniformList(value, key, most);
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number > 0 && number <= most) return number;
  throw invalidKey(key, value, `a whole number from 1 to ${most}`);
}

/** A finite number above 0. Throws `FORMAT` otherwise. */
export function positiveNumberAt(metadata: Metadata, key: string, fallback?: number): number {
  const value = metadata.get(key) ?? fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  throw invalidKey(key, value, 'a positive number');
}

/** A string, or undefined when the key is absent. Throws `FORMAT` for another type. */
export function stringAt(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key);
  if (value === undefined || typeof value === 'string') return value;
  throw invalidKey(key, value, 'a string');
}

function uniformList(values: object, key: string, most: number): number {
  const list = Array.from(values as ArrayLike<unknown>, Number);
  const first = list[0];
  if (list.some((value) => value !== first)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${key}: layers of different sizes (${list.slice(0, 8)}...) are not supported`,
      {
        where: WHERE,
        details: { key },
      },
    );
  }
  if (first !== undefined && Number.isSafeInteger(first) && first > 0 && first <= most) return first;
  throw invalidKey(key, first, `a whole number from 1 to ${most}`);
}

function invalidKey(key: string, value: unknown, expected: string): HalftoneError {
  const problem = value === undefined ? 'is missing' : `is ${String(value).slice(0, 60)}`;
  return new HalftoneError('FORMAT', `${key} ${problem}; it must be ${expected}`, { where: WHERE, details: { key } });
}

/** `attention.sliding_window`, or undefined where there is none (0 says so too). */
export function slidingWindowAt(metadata: Metadata, architecture: string): number | undefined {
  const key = `${architecture}.attention.sliding_window`;
  return metadata.has(key) && Number(metadata.get(key)) !== 0
    ? wholeNumberAt(metadata, key, LIMITS.context)
    : undefined;
}

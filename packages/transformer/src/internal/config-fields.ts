import { type ActivationName, HalftoneError } from '@halftone/tensor';
import { MAX_VOCABULARY } from './config-limits.js';

const WHERE = 'parseConfig';

/** A JSON object whose values are not trusted yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function formatError(key: string, value: unknown, wanted: string, file = 'config.json'): HalftoneError {
  return new HalftoneError('FORMAT', `${file}: ${key} is ${show(value)}; it must be ${wanted}`, {
    where: WHERE,
    details: { key, value },
  });
}

export function unsupported(key: string, value: unknown, reason: string): HalftoneError {
  return new HalftoneError('UNSUPPORTED', `config.json: ${key} ${show(value)} is not supported; ${reason}`, {
    where: WHERE,
    details: { key, value },
  });
}

function show(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The first of `keys` that is present and not null, or `fallback`; a whole number in `1 .. max`. */
export function count(json: JsonObject, keys: string | readonly string[], max: number, fallback?: number): number {
  const key = presentKey(json, keys);
  const value = json[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
    throw formatError(key, value, `a whole number from 1 to ${max}`);
  }
  return value;
}

/** A finite number above zero. */
export function positive(json: JsonObject, keys: string | readonly string[], fallback?: number): number {
  const key = presentKey(json, keys);
  const value = json[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    throw formatError(key, value, 'a number above 0');
  return value;
}

export function flag(json: JsonObject, key: string, fallback: boolean): boolean {
  const value = json[key] ?? fallback;
  if (typeof value !== 'boolean') throw formatError(key, value, 'true or false');
  return value;
}

/** A token id, a list of them, or nothing. Ids outside the vocabulary are left out. */
export function tokenIds(json: JsonObject, key: string, vocabSize: number, file?: string): number[] {
  const value = json[key];
  if (value === undefined || value === null) return [];
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  if (ids.length > 1024) throw formatError(key, value, 'a list of at most 1024 token ids', file);
  return ids
    .map((id) => {
      if (typeof id !== 'number' || !Number.isInteger(id) || id < -1 || id > MAX_VOCABULARY)
        throw formatError(key, value, 'a token id or a list of them', file);
      return id;
    })
    .filter((id) => id >= 0 && id < vocabSize);
}

export function activationName(json: JsonObject, key: string, fallback: string): ActivationName {
  const value = json[key] ?? fallback;
  switch (value) {
    case 'silu':
    case 'swish':
      return 'silu';
    case 'gelu':
      return 'gelu';
    case 'gelu_new':
    case 'gelu_pytorch_tanh':
      return 'gelu_tanh';
    default:
      throw unsupported(key, value, 'known activations are silu, gelu, gelu_new and gelu_pytorch_tanh');
  }
}

function presentKey(json: JsonObject, keys: string | readonly string[]): string {
  if (typeof keys === 'string') return keys;
  return keys.find((key) => json[key] !== undefined && json[key] !== null) ?? keys[0];
}

import { isHalftoneError } from '@halftone/tensor';
import { expect } from 'vitest';
import { noise } from './noise.js';

export const ODD_SIZES = [1, 3, 5, 31, 33, 64, 4097];

/** Rows that float32 arithmetic may stumble over, of so many values. */
export function hostileRows(features: number): readonly (readonly [name: string, row: Float32Array])[] {
  const row = (value: (i: number) => number) => Float32Array.from({ length: features }, (_, i) => value(i));
  const values = noise(features, 7);
  const put = (at: number, value: number) => row((i) => (i === at % features ? value : values[i]));
  return [
    ['zeros', row(() => 0)],
    ['minus zeros', row(() => -0)],
    ['equal values', row(() => 0.1)],
    ['a NaN', put(2, Number.NaN)],
    ['a NaN at the end', put(features - 1, Number.NaN)],
    ['infinity', put(1, Infinity)],
    ['minus infinity', put(features - 1, -Infinity)],
    ['infinities of both signs', row((i) => (i % 2 ? Infinity : -Infinity))],
    ['minus infinities only', row(() => -Infinity)],
    ['huge values', row((i) => values[i] * 6e38)],
    ['the largest values', row((i) => (i % 3 ? 3.4028234663852886e38 : -3.4028234663852886e38))],
    ['squares that overflow', row((i) => values[i] * 1e25)],
    ['squares that underflow', row((i) => values[i] * 1e-25)],
    ['denormals', row((i) => values[i] * 1e-40)],
    ['a large mean', row((i) => 1e4 + values[i])],
    ['one large value', put(0, 1e6)],
  ];
}

/** NaN where NaN is expected, and the same infinities; else within `relative` of the expected value or `absolute`. */
export function expectClose(actual: Float32Array, expected: Float32Array, relative: number, absolute: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    const distance = Math.abs(actual[i] - expected[i]);
    const close = distance <= Math.max(absolute, relative * Math.abs(expected[i]));
    if (!close) expect.fail(`value ${i} is ${actual[i]} instead of ${expected[i]}`);
  }
}

/** Whether lists of arrays hold the same bytes. */
export function sameBits(a: readonly ArrayBufferView[], b: readonly ArrayBufferView[]): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer, byteOffset, byteLength);
  return a.length === b.length && a.every((array, i) => bytes(array).equals(bytes(b[i])));
}

export function errorCode(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

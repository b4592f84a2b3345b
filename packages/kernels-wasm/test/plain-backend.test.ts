import { isHalftoneError, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plainBackend } from '../src/index.js';
import { noise, quantizedNoise } from './noise.js';
import { largestError, plainProduct, product } from './product.js';

/** Sums are in float64 and rounded to float32 once. */
const TOLERANCE = 2 ** -23;

function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

describe('plainBackend', () => {
  it('agrees with plain sums on odd sizes', () => {
    const size = fc.integer({ min: 1, max: 21 });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.nat(), (rows, outFeatures, inFeatures, biased, seed) => {
        const weight = noise(outFeatures * inFeatures, seed);
        const x = noise(rows * inFeatures, seed + 1);
        const bias = biased ? noise(outFeatures, seed + 2) : undefined;
        const shape = [outFeatures, inFeatures];
        const actual = product(plainBackend(), tensor(weight, shape), x, rows, bias);
        expect(largestError(actual, plainProduct(weight, shape, x, rows, bias))).toBeLessThan(TOLERANCE);
      }),
    );
  });

  it.each([
    [1, 1030, 9],
    [5, 513, 7],
    [131, 515, 13],
    [260, 37, 6],
  ])('agrees with plain sums across its blocks: %i rows of %i to %i', (rows, inFeatures, outFeatures) => {
    const weight = noise(outFeatures * inFeatures);
    const x = noise(rows * inFeatures, 2);
    const shape = [outFeatures, inFeatures];
    const actual = product(plainBackend(), tensor(weight, shape), x, rows);
    expect(largestError(actual, plainProduct(weight, shape, x, rows))).toBeLessThan(TOLERANCE);
  });

  it('treats NaN, infinities, huge and tiny values as plain sums do', () => {
    const hostile = [Number.NaN, Infinity, -Infinity, 3.4e38, -3.4e38, 1e-45, -1e-45, 0, -0, 1, 1e-38];
    const size = fc.integer({ min: 1, max: 9 });
    const values = fc.infiniteStream(fc.constantFrom(...hostile));
    fc.assert(
      fc.property(size, size, fc.integer({ min: 1, max: 6 }), values, (rows, outs, ins, stream) => {
        const take = (count: number) => Float32Array.from({ length: count }, () => stream.next().value as number);
        const weight = take(outs * ins);
        const x = take(rows * ins);
        // Sums start at +0 in both, so that even the sign of zero agrees.
        const expected = Float32Array.from(plainProduct(weight, [outs, ins], x, rows).values);
        expect(product(plainBackend(), tensor(weight, [outs, ins]), x, rows)).toEqual(expected);
      }),
    );
  });

  it('copies what it takes, also from strided views', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    const bias = Float32Array.of(10, 20);
    const backend = plainBackend();
    const weight = backend.uploadLinear({ data, shape: [2, 3], stride: [1, 2], offset: 0 }, bias);
    data.fill(0);
    bias.fill(0);
    const out = new Float32Array(2);
    backend.linear(weight, Float32Array.of(1, 10, 100), 1, out);
    expect([...out]).toEqual([531 + 10, 642 + 20]);
  });

  it('takes no rows', () => {
    expect(product(plainBackend(), tensor(new Float32Array(6), [2, 3]), new Float32Array(0), 0)).toHaveLength(0);
  });

  it('refuses what does not fit', () => {
    const backend = plainBackend();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(weight, new Float32Array(5), 2, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 2, new Float32Array(3)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 1.5, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [6])))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [2, 3]), new Float32Array(3)))).toBe('SHAPE');
    expect(backend.supports(GGML_SCHEMES.Q8_0)).toBe(false);
    expect(code(() => backend.uploadLinear(quantizedNoise(GGML_SCHEMES.Q8_0, [1, 32])))).toBe('UNSUPPORTED');
  });

  it('forgets what is released', () => {
    const backend = plainBackend();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    backend.release(weight);
    expect(code(() => backend.linear(weight, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
    const other = plainBackend().uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(other, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
  });
});

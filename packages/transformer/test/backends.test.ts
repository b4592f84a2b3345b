import { isHalftoneError, type KernelBackend, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockedBackend, referenceBackend } from '../src/index.js';
import { noise } from './tiny-models.js';

function product(
  backend: KernelBackend,
  weight: Float32Array,
  shape: readonly [number, number],
  x: Float32Array,
  rows: number,
  bias?: Float32Array,
) {
  const uploaded = backend.uploadLinear(tensor(weight, shape), bias);
  const out = new Float32Array(rows * shape[0] + 3).fill(99);
  backend.linear(uploaded, x, rows, out);
  expect([...out.subarray(rows * shape[0])]).toEqual([99, 99, 99]);
  return out.subarray(0, rows * shape[0]);
}

describe('blockedBackend', () => {
  it('agrees with the reference on odd sizes', () => {
    const size = fc.integer({ min: 1, max: 21 });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.nat(), (rows, outFeatures, inFeatures, biased, start) => {
        const next = noise(start);
        const weight = Float32Array.from({ length: outFeatures * inFeatures }, next);
        const x = Float32Array.from({ length: rows * inFeatures }, next);
        const bias = biased ? Float32Array.from({ length: outFeatures }, next) : undefined;
        const expected = product(referenceBackend(), weight, [outFeatures, inFeatures], x, rows, bias);
        const actual = product(blockedBackend(), weight, [outFeatures, inFeatures], x, rows, bias);
        for (const [i, value] of actual.entries()) {
          expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(2e-7 * (1 + Math.abs(expected[i])));
        }
      }),
    );
  });

  it.each([
    [1, 1030, 9],
    [5, 513, 7],
    [131, 515, 13],
    [260, 37, 6],
  ])('agrees with the reference across its blocks: %i rows of %i to %i', (rows, inFeatures, outFeatures) => {
    const next = noise(rows);
    const weight = Float32Array.from({ length: outFeatures * inFeatures }, next);
    const x = Float32Array.from({ length: rows * inFeatures }, next);
    const expected = product(referenceBackend(), weight, [outFeatures, inFeatures], x, rows);
    const actual = product(blockedBackend(), weight, [outFeatures, inFeatures], x, rows);
    for (const [i, value] of actual.entries()) {
      expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(1e-6 * (1 + Math.abs(expected[i])));
    }
  });

  it('treats NaN, infinities, huge and tiny values as the reference does', () => {
    const hostile = [Number.NaN, Infinity, -Infinity, 3.4e38, -3.4e38, 1e-45, -1e-45, 0, -0, 1, 1e-38];
    const value = fc.constantFrom(...hostile);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 6 }),
        fc.infiniteStream(value),
        (rows, outs, ins, stream) => {
          const take = (count: number) => Float32Array.from({ length: count }, () => stream.next().value as number);
          const weight = take(outs * ins);
          const x = take(rows * ins);
          const expected = product(referenceBackend(), weight, [outs, ins], x, rows);
          // Sums start at +0 in both, so that even the sign of zero agrees.
          expect(product(blockedBackend(), weight, [outs, ins], x, rows)).toEqual(expected);
        },
      ),
    );
  });
});

describe.each([referenceBackend, blockedBackend])('%s', (create) => {
  const code = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (isHalftoneError(error)) return error.code;
      throw error;
    }
    return 'none';
  };

  it('copies what it takes, also from strided views', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    const bias = Float32Array.of(10, 20);
    const backend = create();
    const weight = backend.uploadLinear({ data, shape: [2, 3], stride: [1, 2], offset: 0 }, bias);
    data.fill(0);
    bias.fill(0);
    const out = new Float32Array(2);
    backend.linear(weight, Float32Array.of(1, 10, 100), 1, out);
    expect([...out]).toEqual([531 + 10, 642 + 20]);
  });

  it('takes no rows', () => {
    const backend = create();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(backend.linear(weight, new Float32Array(0), 0, new Float32Array(0))).toBeUndefined();
  });

  it('refuses what does not fit', () => {
    const backend = create();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(weight, new Float32Array(5), 2, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 2, new Float32Array(3)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 1.5, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [6])))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [2, 3]), new Float32Array(3)))).toBe('SHAPE');
    expect(backend.supports(GGML_SCHEMES.Q4_K)).toBe(false);
    const quantized = {
      kind: 'quantized',
      shape: [1, 32],
      scheme: GGML_SCHEMES.Q8_0,
      parts: { codes: tensor(new Int8Array(32), [1, 32]) },
    } as const;
    expect(code(() => backend.uploadLinear(quantized))).toBe('UNSUPPORTED');
  });

  it('forgets what is released', () => {
    const backend = create();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    backend.release(weight);
    expect(code(() => backend.linear(weight, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
    const other = create().uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(other, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
  });
});

import { unpackGgml } from '@halftone/formats';
import { GGML_TYPES, isHalftoneError, packed, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { wasmBackend } from '../src/index.js';
import { LATTICE_TYPES } from './lattice-types.js';
import { noise, quantizedNoise } from './noise.js';
import { backends, largestError, plainProduct, product } from './product.js';

/** Sums of n float32 terms are off by at most n units in the last place; theirs is 2^-24. */
const tolerance = (terms: number) => (terms + 4) * 2 ** -24;

function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

describe.each(backends())('$name on float weights', (backend) => {
  it('agrees with plain sums on odd sizes', () => {
    const size = fc.integer({ min: 1, max: 23 });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.nat(), (rows, outFeatures, inFeatures, biased, seed) => {
        const weight = noise(outFeatures * inFeatures, seed);
        const x = noise(rows * inFeatures, seed + 1);
        const bias = biased ? noise(outFeatures, seed + 2) : undefined;
        const shape = [outFeatures, inFeatures];
        const actual = product(backend, tensor(weight, shape), x, rows, bias);
        expect(largestError(actual, plainProduct(weight, shape, x, rows, bias))).toBeLessThan(tolerance(inFeatures));
      }),
    );
  });

  it.each([
    [1, 1030, 9],
    [5, 513, 17],
    [241, 259, 13],
    [490, 37, 6],
  ])('agrees across its blocks: %i rows of %i to %i', (rows, inFeatures, outFeatures) => {
    const weight = noise(outFeatures * inFeatures);
    const x = noise(rows * inFeatures, 2);
    const shape = [outFeatures, inFeatures];
    const actual = product(backend, tensor(weight, shape), x, rows);
    expect(largestError(actual, plainProduct(weight, shape, x, rows))).toBeLessThan(tolerance(inFeatures));
  });

  it('lets NaN, infinities, huge and tiny values through', () => {
    // Powers of two: products are exact or overflow, whether or not they are fused with the addition.
    const hostile = [Number.NaN, Infinity, -Infinity, 2 ** 127, -(2 ** 127), 2 ** -149, 2 ** -126, 0, -0, 1, 2 ** 64];
    const size = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(size, size, fc.infiniteStream(fc.constantFrom(...hostile)), (rows, outs, stream) => {
        const take = (count: number) => Float32Array.from({ length: count }, () => stream.next().value as number);
        const weight = take(outs);
        const x = take(rows);
        const expected = Float32Array.from(
          { length: rows * outs },
          (_, i) => x[Math.floor(i / outs)] * weight[i % outs],
        );
        expect(product(backend, tensor(weight, [outs, 1]), x, rows).map((value) => value + 0)).toEqual(
          expected.map((value) => value + 0),
        );
      }),
    );
  });

  it('lets a NaN or an infinity spoil its own row alone', () => {
    const weight = noise(20 * 40);
    const x = noise(9 * 40);
    x[3 * 40 + 7] = Number.NaN;
    x[5 * 40] = Infinity;
    const out = product(backend, tensor(weight, [20, 40]), x, 9);
    for (const [i, value] of out.entries()) expect(Number.isFinite(value)).toBe(![3, 5].includes(Math.floor(i / 20)));
  });

  it('gives a row the same result alone and among others of its tile', () => {
    const weight = tensor(noise(16 * 64), [16, 64]);
    const x = noise(13 * 64);
    const all = product(backend, weight, x, 13);
    const first = product(backend, weight, x.slice(0, 7 * 64), 7);
    expect(all.subarray(0, 7 * 16)).toEqual(first);
  });

  it('reads strided weights', () => {
    const values = noise(6 * 5);
    const transposed = { data: values, shape: [5, 6], stride: [1, 5], offset: 0 };
    const plain = Float32Array.from({ length: 30 }, (_, i) => values[(i % 6) * 5 + Math.floor(i / 6)]);
    const x = noise(2 * 6);
    expect(product(backend, transposed, x, 2)).toEqual(product(backend, tensor(plain, [5, 6]), x, 2));
  });

  it('keeps weights apart and reuses what is released', () => {
    const make = (seed: number) => tensor(noise(10 * 10, seed), [10, 10]);
    const x = noise(10);
    const uploaded = [1, 2, 3].map((seed) => backend.uploadLinear(make(seed)));
    backend.release(uploaded[1]);
    const again = backend.uploadLinear(make(4));
    for (const [weight, seed] of [[uploaded[0], 1] as const, [uploaded[2], 3] as const, [again, 4] as const]) {
      const out = new Float32Array(10);
      backend.linear(weight, x, 1, out);
      expect(out).toEqual(product(backend, make(seed), x, 1));
    }
    expect(code(() => backend.linear(uploaded[1], x, 1, new Float32Array(10)))).toBe('DEVICE');
  });

  it('takes no rows at all', () => {
    expect(product(backend, tensor(noise(4), [2, 2]), new Float32Array(0), 0)).toEqual(new Float32Array(0));
  });

  it('refuses what does not fit', () => {
    const weight = backend.uploadLinear(tensor(noise(6), [2, 3]));
    expect(code(() => backend.uploadLinear(tensor(noise(6))))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(0), [0, 3])))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(noise(6), [2, 3]), noise(3)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, noise(3), 2, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, noise(6), 2, new Float32Array(3)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, noise(3), 0.5, new Float32Array(3)))).toBe('SHAPE');
  });
});

describe('memories', () => {
  const memoryBytes = 4 * 2 ** 20;

  it('spread weights that one memory cannot hold', () => {
    const backend = wasmBackend({ memoryBytes });
    const x = noise(512);
    const shape = [512, 512];
    const uploaded = [1, 2, 3, 4, 5].map((seed) => backend.uploadLinear(tensor(noise(512 * 512, seed), shape)));
    for (const [i, weight] of uploaded.entries()) {
      const out = new Float32Array(512);
      backend.linear(weight, x, 1, out);
      expect(largestError(out, plainProduct(noise(512 * 512, i + 1), shape, x, 1))).toBeLessThan(tolerance(512));
    }
    backend.dispose();
  });

  it('work in chunks where rows do not fit', () => {
    const backend = wasmBackend({ memoryBytes });
    const weight = noise(40 * 2048);
    const x = noise(300 * 2048);
    const actual = product(backend, tensor(weight, [40, 2048]), x, 300);
    expect(largestError(actual, plainProduct(weight, [40, 2048], x, 300))).toBeLessThan(tolerance(2048));
    backend.dispose();
  });

  it('refuse a weight larger than themselves', () => {
    const backend = wasmBackend({ memoryBytes });
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(2 ** 20), [2 ** 10, 2 ** 10])))).toBe('DEVICE');
    backend.dispose();
  });
});

describe('a disposed backend', () => {
  it('refuses work', () => {
    const backend = wasmBackend();
    const weight = backend.uploadLinear(tensor(noise(4), [2, 2]));
    backend.dispose();
    backend.dispose();
    expect(code(() => backend.linear(weight, noise(2), 1, new Float32Array(2)))).toBe('DEVICE');
    expect(code(() => backend.uploadLinear(tensor(noise(4), [2, 2])))).toBe('DEVICE');
  });
});

describe('schemes', () => {
  const backend = wasmBackend();

  it('refuses what it does not support', () => {
    const q = quantizedNoise(GGML_SCHEMES.Q8_0, [4, 32]);
    const unknown = { ...q, scheme: { ...q.scheme, granularity: { type: 'block', rows: 2, columns: 32 } as const } };
    expect(backend.supports(unknown.scheme)).toBe(false);
    expect(code(() => backend.uploadLinear(unknown))).toBe('UNSUPPORTED');
  });

  it('supports every ggml block format but those with vectors for codes', () => {
    const refused = Object.entries(GGML_SCHEMES).filter(([, scheme]) => !backend.supports(scheme));
    expect(refused.map(([type]) => type)).toEqual(LATTICE_TYPES);
  });

  it.each(LATTICE_TYPES)('refuses %s', (type) => {
    const { blockSize, blockBytes } = GGML_TYPES[type];
    const lattice = unpackGgml(packed(type, [2, blockSize], new Uint8Array(2 * blockBytes)));
    expect(code(() => backend.uploadLinear(lattice))).toBe('UNSUPPORTED');
  });
});

import {
  dequantize,
  type Granularity,
  isHalftoneError,
  type QuantizedTensor,
  type Scheme,
  tensor,
} from '@halftone/tensor';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { linearLayers } from '../src/internal/linear-layers.js';
import { sidedLayers } from '../src/internal/sided-layers.js';
import { machine } from '../src/runtime.js';
import { noise, quantizedNoise } from './noise.js';
import { BUILDS, backends, largestError, plainProduct, product } from './product.js';
import { sparseNoise, withSides } from './sides.js';

const GROUPED: Granularity = { type: 'group', axis: 1, size: 32 };

function affine(bits: number, granularity: Granularity = GROUPED): Scheme {
  return { name: 'affine', version: 1, grid: { type: 'affine', bits, signed: true, symmetric: true }, granularity };
}

function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

const sides = fc.record({
  channelScale: fc.boolean(),
  permutation: fc.boolean(),
  groupIndex: fc.boolean(),
  outliers: fc.constantFrom('none', 'scattered', 'columns', 'both', 'empty'),
  rank: fc.constantFrom(0, 1, 3, 4, 9),
});

describe.each(backends({ activations: 'float' }))('$name with side branches', (backend) => {
  it('multiplies what the reference decodes', () => {
    const size = fc.integer({ min: 1, max: 70 });
    fc.assert(
      fc.property(size, size, fc.integer({ min: 1, max: 19 }), sides, fc.nat(1e6), (outs, ins, rows, parts, seed) => {
        const q = withSides(quantizedNoise(affine(4), [outs, ins], { seed }), parts, seed);
        const x = noise(rows * ins, seed + 9);
        const bias = seed % 2 === 0 ? noise(outs, seed + 10) : undefined;
        const expected = plainProduct(dequantize(q), q.shape, x, rows, bias);
        // Parts of a weight may cancel.
        const bounded = { ...expected, magnitudes: expected.magnitudes.map((magnitude) => magnitude + ins) };
        expect(largestError(product(backend, q, x, rows, bias), bounded)).toBeLessThan(1e-5);
      }),
    );
  });

  it('holds the dense part quantized', () => {
    const q = quantizedNoise(affine(4), [128, 512]);
    const sided = backend.uploadLinear(
      withSides(q, { channelScale: true, permutation: true, outliers: 'scattered', rank: 4 }),
    );
    expect(sided.byteLength).toBeLessThan((128 * 512 * 4) / 2);
    backend.release(sided);
  });

  it('holds columns that most rows share as panels', () => {
    const q = quantizedNoise(affine(4), [128, 512]);
    const bytes = (weight: QuantizedTensor) => {
      const uploaded = backend.uploadLinear(weight);
      backend.release(uploaded);
      return uploaded.byteLength;
    };
    const perEntry = (outliers: 'columns' | 'scattered') => {
      const weight = withSides(q, { outliers });
      return (bytes(weight) - bytes(q)) / (weight.parts.outliers?.values.length ?? 0);
    };
    expect(perEntry('columns')).toBeLessThan(perEntry('scattered'));
  });

  it('takes more rows than it works on together, and gives a row the same result among others', () => {
    const q = withSides(quantizedNoise(affine(4), [21, 96]), { channelScale: true, outliers: 'both', rank: 5 });
    const x = noise(250 * 96);
    const all = product(backend, q, x, 250);
    expect(largestError(all, plainProduct(dequantize(q), q.shape, x, 250))).toBeLessThan(1e-5);
    expect(product(backend, q, x.slice(0, 121 * 96), 121)).toEqual(all.subarray(0, 121 * 21));
  });

  it('decodes weights whose groups have unequal sizes', () => {
    const q = quantizedNoise(affine(4), [9, 64]);
    const groupIndex = Uint32Array.from({ length: 64 }, (_, j) => Number(j < 20));
    const odd = { ...q, parts: { ...q.parts, groupIndex } };
    const x = noise(3 * 64);
    expect(largestError(product(backend, odd, x, 3), plainProduct(dequantize(odd), odd.shape, x, 3))).toBeLessThan(
      1e-5,
    );
  });

  it('lets NaN and infinities of side branches through', () => {
    const q = quantizedNoise(affine(4), [3, 32]);
    const outliers = {
      shape: [3, 32] as const,
      rowPointers: Uint32Array.of(0, 1, 1, 2),
      columns: Uint32Array.of(3, 31),
      values: Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY),
    };
    const x = new Float32Array(2 * 32).fill(1);
    const out = product(backend, { ...q, parts: { ...q.parts, outliers } }, x, 2);
    expect([...out].map((value) => (Number.isFinite(value) ? 'finite' : String(value)))).toEqual([
      'NaN',
      'finite',
      'Infinity',
      'NaN',
      'finite',
      'Infinity',
    ]);
  });

  it('refuses parts that do not fit', () => {
    const q = quantizedNoise(affine(4), [4, 32]);
    const upload = (parts: Partial<QuantizedTensor['parts']>) =>
      code(() => backend.uploadLinear({ ...q, parts: { ...q.parts, ...parts } }));
    const outliers = sparseNoise(4, 32, 0.2, 1);
    expect(upload({ outliers: { ...outliers, columns: outliers.columns.map(() => 32) } })).toBe('RANGE');
    expect(upload({ outliers: { ...outliers, rowPointers: outliers.rowPointers.slice().reverse() } })).toBe('RANGE');
    expect(upload({ outliers: { ...outliers, values: outliers.values.slice(1) } })).toBe('SHAPE');
    expect(upload({ permutation: new Uint32Array(32) })).toBe('RANGE');
    expect(upload({ permutation: new Uint32Array(31) })).toBe('SHAPE');
    expect(upload({ channelScale: new Float32Array(33) })).toBe('SHAPE');
    expect(upload({ groupIndex: new Uint32Array(32).fill(7) })).toBe('RANGE');
    const left = tensor(noise(8), [4, 2]);
    expect(upload({ lowRank: { left, right: tensor(noise(62), [2, 31]) } })).toBe('SHAPE');
    const weight = backend.uploadLinear(withSides(q, { rank: 2 }));
    expect(code(() => backend.linear(weight, noise(32), 2, new Float32Array(8)))).toBe('SHAPE');
    backend.release(weight);
    expect(code(() => backend.linear(weight, noise(32), 1, new Float32Array(4)))).toBe('DEVICE');
  });
});

describe.each(backends({ activations: 'int8' }))('$name with int8 activations', (backend) => {
  it('keeps inputs of side branches in float32', () => {
    // The dense part is zero.
    const q = quantizedNoise(affine(8), [17, 64]);
    const empty = { ...q, parts: { ...q.parts, scales: tensor(new Float32Array(34), [17, 2]) } };
    const full = withSides(empty, { outliers: 'both', rank: 3 });
    const x = noise(5 * 64);
    expect(largestError(product(backend, full, x, 5), plainProduct(dequantize(full), full.shape, x, 5))).toBeLessThan(
      1e-5,
    );
  });
});

describe.each(BUILDS)('side branches of the %s build', (build) => {
  const runtimes = [1, 2, 3].map((threads) => machine({ build, threads, memoryBytes: 2 ** 26 }));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it('give the same bits with any number of threads and in place', () => {
    const q = withSides(quantizedNoise(affine(4), [515, 640]), {
      channelScale: true,
      permutation: true,
      groupIndex: true,
      outliers: 'both',
      rank: 16,
    });
    for (const rows of [1, 5, 133]) {
      const results = runtimes.flatMap((runtime) =>
        [false, true].map((resident) => {
          const layers = sidedLayers(runtime, linearLayers(runtime, 'int8'));
          const uploaded = layers.uploadLinear(q, noise(515, 4));
          const array = (length: number) => (resident ? runtime.allocate(length) : new Float32Array(length));
          const x = array(rows * 640 + 1);
          x.fill(Number.NaN).set(noise(rows * 640, 5));
          const out = array(rows * 515 + 2).fill(99);
          expect(layers.linear(uploaded, x, rows, out)).toBeUndefined();
          const copy = out.slice();
          layers.release(uploaded);
          return copy;
        }),
      );
      expect([...results[0].subarray(rows * 515)]).toEqual([99, 99]);
      expect(results[0].every(Number.isFinite)).toBe(true);
      for (const result of results) expect(result.every((value, i) => value === results[0][i])).toBe(true);
    }
  });
});

import { afterAll, describe, expect, it } from 'vitest';
import { type BatchedGemm, type Gemm, linearAlgebra } from '../../src/index.js';
import type { FloatArray } from '../../src/internal/algebra/operands.js';
import { type Machine, machine } from '../../src/runtime.js';
import {
  absolute,
  bits,
  EPSILON,
  type FloatArrayType,
  instances,
  largestRatio,
  placed,
  plain,
  random,
  SIZES,
  TYPES,
} from './instances.js';

const all = instances();
afterAll(() => Promise.all(all.map(({ runtime }) => runtime.dispose())));

const SHAPES = [
  ...SIZES.map((m, i) => [m, SIZES[(i + 3) % SIZES.length], SIZES[(i + 7) % SIZES.length]]),
  ...SIZES.map((k, i) => [SIZES[(i + 5) % SIZES.length], SIZES[(i + 9) % SIZES.length], k]),
  [257, 130, 600],
  [2305, 3, 5],
  [3, 2310, 300],
];
const TRANSPOSES = [0, 1, 2, 3].map((i) => ({ transposeA: i % 2 === 1, transposeB: i > 1 }));

/** Results of every instance, which must agree with the plain ones to rounding, and with each other within a build. */
function check(product: BatchedGemm, a: FloatArray, b: FloatArray, c: FloatArray): void {
  const { k, count, beta = 0 } = product;
  const expected = new Float64Array(c);
  const [a64, b64] = [new Float64Array(a), new Float64Array(b)];
  plain.batchedGemm(product, a64, b64, expected);
  const magnitudes = absolute(new Float64Array(c));
  const sizes = { ...product, alpha: Math.abs(product.alpha ?? 1), beta: Math.abs(beta) };
  plain.batchedGemm(sizes, absolute(a64), absolute(b64), magnitudes);
  const unit = EPSILON[c.BYTES_PER_ELEMENT as 4 | 8];
  const results = new Map<string, Buffer>();
  for (const { name, runtime, algebra } of all) {
    const out = c.slice() as FloatArray;
    if (count === 1) algebra.gemm(product, a, b, out);
    else algebra.batchedGemm(product, a, b, out);
    expect(largestRatio(out, expected, (i) => (k + 4) * unit * magnitudes[i])).toBeLessThanOrEqual(1);
    const first = results.get(runtime.build);
    if (first === undefined) results.set(runtime.build, bits(out));
    else expect(bits(out).equals(first), name).toBe(true);
  }
}

function operands(type: FloatArrayType, { m, n, k }: Gemm): [FloatArray, FloatArray, FloatArray] {
  return [random(type, m * k, 1), random(type, k * n, 2), random(type, m * n, 3)];
}

describe.each(TYPES)('gemm of %o', (type) => {
  it.each(TRANSPOSES)('agrees with the plain product: %o', (transposes) => {
    for (const [m, n, k] of SHAPES) {
      const product = { ...{ m, n, k }, ...transposes, alpha: -1.5, beta: 0.25, count: 1 };
      check(product, ...operands(type, product));
    }
  });

  it('does not read c with beta 0, nor a and b with alpha 0', () => {
    for (const { algebra } of all) {
      for (const [m, n, k] of [
        [9, 13, 5],
        [64, 64, 64],
        [65, 9, 257],
      ]) {
        const [a, b] = operands(type, { m, n, k });
        const clean = new type(m * n);
        const dirty = new type(m * n).fill(Number.NaN);
        algebra.gemm({ m, n, k }, a, b, clean);
        algebra.gemm({ m, n, k }, a, b, dirty);
        expect(bits(dirty).equals(bits(clean))).toBe(true);
        dirty.fill(Number.NaN);
        algebra.gemm({ m, n, k, alpha: 0 }, a, b, dirty);
        expect(dirty.every((value) => value === 0)).toBe(true);
        const half = random(type, m * n);
        algebra.gemm({ m, n, k, alpha: 0, beta: 0.5 }, a.fill(Number.NaN), b, half);
        expect(half).toEqual(random(type, m * n).map((value) => value / 2));
      }
    }
  });

  it('takes empty matrices and sums', () => {
    for (const { algebra } of [...all, { algebra: plain }]) {
      const empty = new type(0);
      algebra.gemm({ m: 0, n: 3, k: 2 }, empty, new type(6), empty);
      const c = new type(6).fill(3);
      algebra.gemm({ m: 2, n: 3, k: 0, beta: 2 }, empty, empty, c);
      expect([...c]).toEqual([6, 6, 6, 6, 6, 6]);
      algebra.gemm({ m: 2, n: 3, k: 0 }, empty, empty, c);
      expect([...c]).toEqual([0, 0, 0, 0, 0, 0]);
    }
  });

  it('gives what arrays in kernel memory give, and leaves what is around them', () => {
    const product = { m: 67, n: 35, k: 300, alpha: 2, beta: 0.5 };
    const [a, b, c] = operands(type, product);
    for (const { algebra, runtime } of all) {
      const around = placed(runtime, new type(c.length + 16).fill(7));
      const inside = around.subarray(8, 8 + c.length);
      inside.set(c);
      const [aIn, bIn] = [placed(runtime, a), placed(runtime, b)];
      algebra.gemm(product, aIn, bIn, inside);
      const out = c.slice() as FloatArray;
      algebra.gemm(product, a, b, out);
      expect(bits(inside).equals(bits(out))).toBe(true);
      expect([...around.subarray(0, 8), ...around.subarray(8 + c.length)]).toEqual(Array(16).fill(7));
      expect([bits(aIn).equals(bits(a)), bits(bIn).equals(bits(b))]).toEqual([true, true]);
    }
  });

  it('spreads NaN and infinities to their rows and columns only', () => {
    const [m, n, k] = [21, 19, 40];
    for (const { algebra } of all) {
      const a = new type(m * k).fill(1);
      const b = new type(k * n).fill(1);
      const c = new type(m * n);
      a[5 * k + 3] = Number.NaN;
      b[7 * n + 11] = Number.POSITIVE_INFINITY;
      b[8 * n + 18] = -1e-310;
      algebra.gemm({ m, n, k }, a, b, c);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          const expected = i === 5 ? Number.NaN : j === 11 ? Number.POSITIVE_INFINITY : j === 18 ? k - 1 : k;
          expect(c[i * n + j]).toBe(expected);
        }
      }
    }
  });
});

describe.each(TYPES)('batchedGemm of %o', (type) => {
  it.each(TRANSPOSES)('agrees with the plain products: %o', (transposes) => {
    for (const [m, n, k, count] of [
      [1, 1, 1, 3],
      [7, 9, 31, 20],
      [64, 64, 64, 5],
      [65, 130, 257, 3],
      [3, 5, 300, 2],
    ]) {
      const product = { ...{ m, n, k, count }, ...transposes, alpha: 0.5, beta: -1 };
      check(product, random(type, count * m * k, 1), random(type, count * k * n, 2), random(type, count * m * n, 3));
    }
  });

  it('takes heads that lie side by side, and one operand for all', () => {
    const [rows, heads, size, length] = [33, 5, 24, 70];
    const query = random(type, rows * heads * size, 1);
    const keys = random(type, heads * length * size, 2);
    const scores: BatchedGemm = {
      m: rows,
      n: length,
      k: size,
      count: heads,
      transposeB: true,
      strideA: size,
      rowStrideA: heads * size,
    };
    check(scores, query, keys, random(type, heads * rows * length, 3));
    const rotation = random(type, size * size, 4);
    const rotated: BatchedGemm = {
      ...{ m: rows, n: size, k: size, count: heads, strideA: size, rowStrideA: heads * size, strideB: 0 },
      ...{ strideC: size, rowStrideC: heads * size },
    };
    check(rotated, query, rotation, random(type, query.length, 3));
  });

  it('leaves gaps between rows and products alone', () => {
    const gaps: BatchedGemm = { m: 5, n: 6, k: 4, count: 3, rowStrideC: 9, strideC: 50 };
    for (const { algebra } of all) {
      const c = new type(3 * 50).fill(42);
      algebra.batchedGemm(gaps, random(type, 60), random(type, 72), c);
      c.forEach((value, i) => {
        const inside = i % 50 < 45 && (i % 50) % 9 < 6;
        expect(value === 42).toBe(!inside);
      });
    }
  });
});

describe('refuses', () => {
  const algebras = [...all.map(({ algebra }) => algebra), plain];
  const refused = (code: string, run: (algebra: (typeof algebras)[number]) => unknown) => {
    for (const algebra of algebras) expect(() => run(algebra)).toThrow(expect.objectContaining({ code }));
  };
  const f = (length: number) => new Float32Array(length);

  it('sizes that do not fit', () => {
    for (const [a, b, c] of [
      [5, 12, 8],
      [6, 11, 8],
      [6, 12, 9],
      [7, 12, 8],
    ]) {
      refused('SHAPE', (algebra) => algebra.gemm({ m: 2, n: 4, k: 3 }, f(a), f(b), f(c)));
    }
    for (const bad of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      refused('SHAPE', (algebra) => algebra.gemm({ m: bad, n: 4, k: 3 }, f(6), f(12), f(8)));
    }
    refused('SHAPE', (algebra) => algebra.batchedGemm({ m: 2, n: 2, k: 2, count: 3, strideA: 5 }, f(13), f(12), f(12)));
  });

  it('overlapping rows and results', () => {
    const one = { m: 2, n: 2, k: 2 };
    refused('RANGE', (algebra) => algebra.gemm({ ...one, rowStrideA: 1 }, f(4), f(4), f(4)));
    refused('RANGE', (algebra) => algebra.batchedGemm({ ...one, count: 2, strideC: 3 }, f(8), f(8), f(8)));
    refused('RANGE', (algebra) => algebra.batchedGemm({ ...one, count: 2, strideC: 0 }, f(8), f(8), f(4)));
    const buffer = f(16);
    refused('RANGE', (algebra) => algebra.gemm(one, buffer.subarray(0, 4), f(4), buffer.subarray(3, 7)));
    refused('RANGE', (algebra) => algebra.gemm(one, f(4), buffer.subarray(0, 4), buffer.subarray(0, 4)));
  });

  it('types that differ', () => {
    const c = new Float64Array(4) as unknown as Float32Array;
    refused('DTYPE', (algebra) => algebra.gemm({ m: 2, n: 2, k: 2 }, f(4), f(4), c));
  });
});

describe('memories and waiting', () => {
  const [m, n, k] = [130, 70, 300];
  const [a, b] = [random(Float32Array, m * k, 1), random(Float32Array, k * n, 2)];
  const expected = new Float32Array(m * n);
  all[0].algebra.gemm({ m, n, k }, a, b, expected);
  const { build } = all[0].runtime;

  it('takes operands that lie in different memories, full ones too', async () => {
    const small = machine({ build, threads: 1, memoryBytes: 2 ** 21 });
    const algebra = linearAlgebra(small);
    const [aIn, bIn, c] = [a, b, expected].map((array) => {
      const copy = placed(small, array);
      while (small.arenaOf(copy)?.allocate(2 ** 14) !== undefined);
      return copy;
    });
    expect(new Set([aIn, bIn, c].map((array) => small.arenaOf(array))).size).toBe(3);
    c.fill(Number.NaN);
    algebra.gemm({ m, n, k }, aIn, bIn, c);
    expect(bits(c).equals(bits(expected))).toBe(true);
    await small.dispose();
    expect(() => algebra.gemm({ m, n, k }, aIn, bIn, c)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
  });

  it('waits for jobs where threads do, and gives memory back when one fails', async () => {
    const runtime = machine({ build, threads: 1, memoryBytes: 2 ** 26 });
    const { job } = runtime;
    const later = linearAlgebra({ ...runtime, job: { ...job, run: async (...items) => job.run(...items) } } as Machine);
    const c = new Float32Array(m * n);
    await later.gemm({ m, n, k }, a, b, c);
    expect(bits(c).equals(bits(expected))).toBe(true);
    const g = new Float32Array(n * n);
    await later.syrk(b, k, n, g);
    const same = new Float32Array(n * n);
    all[0].algebra.syrk(b, k, n, same);
    expect(bits(g).equals(bits(same))).toBe(true);
    const diagonal = new Float32Array(n * n);
    for (let i = 0; i < n; i++) diagonal[i * n + i] = i === 3 ? -1 : 4;
    await expect(later.choleskyUpperOfInverse(diagonal, n, g)).rejects.toThrow(/index 3;/);
    await later.invertPositiveDefinite(diagonal.map(Math.abs), n, g);
    expect([g[0], g[3 * (n + 1)]]).toEqual([0.25, 1]);
    const before = runtime.place(64)[1];
    const failing = { ...job, run: async () => Promise.reject(new Error('failed')) };
    const broken = linearAlgebra({ ...runtime, job: failing } as unknown as Machine);
    await expect(broken.gemm({ m, n, k }, a, b, c)).rejects.toThrow('failed');
    expect(runtime.place(64)[1]).toBe(before + 64);
  });
});

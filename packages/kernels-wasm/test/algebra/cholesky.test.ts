import * as numerics from '@halftone/numerics';
import { HalftoneError } from '@halftone/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import type { LinearAlgebra } from '../../src/index.js';
import type { FloatArray } from '../../src/internal/algebra/operands.js';
import { bits, EPSILON, type FloatArrayType, instances, placed, plain, random, SIZES, TYPES } from './instances.js';

const all = instances();
afterAll(() => Promise.all(all.map(({ runtime }) => runtime.dispose())));
const algebras = [...all.map(({ algebra }) => algebra), plain];

/** `Q D Qᵀ` with eigenvalues spread evenly in their logarithm from 1 to `1 / condition`; `Q` is a product of reflections. */
function positiveDefinite(n: number, condition: number): Float64Array {
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) a[i * n + i] = condition ** -(i / Math.max(1, n - 1));
  for (let seed = 1; seed <= 3; seed++) {
    const v = new Float64Array(random(Float64Array, n, seed));
    const norm = v.reduce((sum, value) => sum + value * value, 0);
    const w = Float64Array.from(v, (_, i) => v.reduce((sum, value, j) => sum + a[i * n + j] * value, 0));
    const inner = w.reduce((sum, value, i) => sum + value * v[i], 0);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++)
        a[i * n + j] += (-2 * (v[i] * w[j] + w[i] * v[j])) / norm + (4 * inner * v[i] * v[j]) / norm ** 2;
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
  return a;
}

/** With NaN above the diagonal. */
function lowerOnly(a: FloatArray, n: number, type: FloatArrayType): FloatArray {
  return new type(a).map((value, at) => (at % n > Math.floor(at / n) ? Number.NaN : value)) as FloatArray;
}

function product(l: FloatArray, r: FloatArray, n: number, transposeB: boolean): Float64Array {
  const c = new Float64Array(n * n);
  plain.gemm({ m: n, n, k: n, transposeB }, new Float64Array(l), new Float64Array(r), c);
  return c;
}

function largestDifference(a: FloatArray, b: FloatArray): number {
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]));
  return worst;
}

function norm(a: FloatArray): number {
  return Math.sqrt(new Float64Array(a).reduce((sum, value) => sum + value * value, 0));
}

function distance(a: FloatArray, b: FloatArray): number {
  return norm(Float64Array.from(a, (value, i) => value - b[i]));
}

/** The result of every instance, equal in its bits within a build. */
function everywhere(run: (algebra: LinearAlgebra) => FloatArray): readonly FloatArray[] {
  const first = new Map<string, Buffer>();
  const results = all.map(({ algebra, runtime }) => {
    const result = run(algebra);
    const known = first.get(runtime.build);
    if (known === undefined) first.set(runtime.build, bits(result));
    else expect(bits(result).equals(known)).toBe(true);
    return result;
  });
  return [...results, run(plain)];
}

describe.each(TYPES)('of %o', (type) => {
  const unit = EPSILON[type.BYTES_PER_ELEMENT as 4 | 8];

  it('cholesky gives a lower factor whose square is the matrix', () => {
    for (const n of SIZES) {
      const a = positiveDefinite(n, 10);
      const given = lowerOnly(a, n, type);
      const results = everywhere((algebra) => {
        const out = new type(n * n).fill(7);
        algebra.cholesky(given, n, out);
        const same = given.slice() as FloatArray;
        algebra.cholesky(same, n, same);
        expect(bits(same).equals(bits(out))).toBe(true);
        return out;
      });
      for (const l of results) {
        // |A - L Lᵀ| is at most about (n + 1) units of |L| |Lᵀ|, whose elements are at most the largest of the diagonal.
        expect(largestDifference(product(l, l, n, true), a)).toBeLessThan((n + 2) * unit * Math.max(...a));
        l.forEach((value, at) => {
          if (at % n > Math.floor(at / n)) expect(value).toBe(0);
        });
      }
    }
  });

  it('choleskySolve solves many right-hand sides', () => {
    for (const n of [1, 9, 65, 130]) {
      const vectors = 11;
      const a = positiveDefinite(n, 10);
      const x = random(Float64Array, n * vectors, 4);
      const b = new Float64Array(n * vectors);
      plain.gemm({ m: n, n: vectors, k: n }, a, x, b);
      const results = everywhere((algebra) => {
        const l = new type(n * n);
        algebra.cholesky(new type(a), n, l);
        const solution = new type(b);
        algebra.choleskySolve(l, n, solution, vectors);
        return solution;
      });
      // The condition is 10.
      for (const solution of results)
        expect(largestDifference(solution, x)).toBeLessThan(10 * 3 * n * unit + 10 * unit);
    }
  });

  it('invertLower, invertPositiveDefinite and choleskyUpperOfInverse agree with numerics', () => {
    for (const n of SIZES) {
      const a = positiveDefinite(n, 10);
      const l = numerics.cholesky(a, n);
      const expected = {
        invertLower: numerics.invertLower(l, n),
        invertPositiveDefinite: numerics.invertPositiveDefinite(a, n),
        choleskyUpperOfInverse: numerics.choleskyUpperOfInverse(a, n),
      };
      for (const name of ['invertLower', 'invertPositiveDefinite', 'choleskyUpperOfInverse'] as const) {
        const given =
          name === 'choleskyUpperOfInverse' ? new type(a) : lowerOnly(name === 'invertLower' ? l : a, n, type);
        const results = everywhere((algebra) => {
          const out = new type(n * n).fill(7);
          algebra[name](given, n, out);
          const same = given.slice() as FloatArray;
          algebra[name](same, n, same);
          expect(bits(same).equals(bits(out))).toBe(true);
          return out;
        });
        // Inverses multiply errors by the condition, 10, and are themselves up to 10 in size.
        for (const result of results)
          expect(largestDifference(result, expected[name])).toBeLessThan(100 * (n + 2) * unit);
      }
    }
  });

  it('gives what arrays in kernel memory give', () => {
    const n = 131;
    const a = new type(positiveDefinite(n, 100));
    for (const { algebra, runtime } of all) {
      const [inside, out] = [placed(runtime, a), placed(runtime, new type(n * n))];
      for (const name of ['cholesky', 'invertPositiveDefinite', 'choleskyUpperOfInverse'] as const) {
        for (const accumulate of ['float32', 'float64'] as const) {
          const expected = new type(n * n);
          algebra[name](a, n, expected, { accumulate });
          algebra[name](inside, n, out, { accumulate });
          expect(bits(out).equals(bits(expected))).toBe(true);
        }
      }
      expect(bits(inside).equals(bits(a))).toBe(true);
    }
  });

  it('names the pivot that is not positive', () => {
    for (const [n, bad] of [
      [1, 0],
      [9, 4],
      [130, 0],
      [130, 63],
      [130, 64],
      [200, 199],
    ]) {
      for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
        const a = new type(n * n);
        for (let i = 0; i < n; i++) a[i * n + i] = i === bad ? value : 1;
        for (const algebra of algebras) {
          const out = new type(n * n);
          for (const name of ['cholesky', 'invertPositiveDefinite'] as const) {
            const expected = { code: 'NUMERIC', where: 'cholesky', details: { pivot: bad, value } };
            expect(() => algebra[name](a, n, out)).toThrow(expect.objectContaining(expected));
          }
        }
      }
    }
  });

  it('choleskyUpperOfInverse counts pivots from the start and refuses an unusable diagonal', () => {
    const n = 70;
    const a = new type(n * n);
    for (let i = 0; i < n; i++) a[i * n + i] = i === 3 ? -1 : 1;
    const bad = a.map((value, at) => (at === 0 ? Number.NaN : value)) as FloatArray;
    for (const algebra of algebras) {
      const run = (matrix: FloatArray, damping: number) => () =>
        algebra.choleskyUpperOfInverse(matrix, n, new type(n * n), { damping });
      expect(run(a, 0.01)).toThrow(
        expect.objectContaining({
          ...{ code: 'NUMERIC', where: 'choleskyUpperOfInverse', details: expect.objectContaining({ pivot: 3 }) },
          cause: expect.any(HalftoneError),
        }),
      );
      expect(run(bad, 0.01)).toThrow(/mean diagonal NaN/);
      expect(run(a, -1)).toThrow(/damping -1/);
      expect(run(a, 2)).not.toThrow();
    }
  });
});

it('gains accuracy by sums in float64 where a matrix is ill-conditioned', () => {
  const n = 257;
  const rounded = new Float32Array(positiveDefinite(n, 1e6));
  const a = new Float64Array(rounded);
  const exact = numerics.cholesky(a, n);
  const inverse = numerics.choleskyUpperOfInverse(a, n, { damping: 1e-6 });
  for (const { algebra } of all) {
    const factor = (accumulate: 'float32' | 'float64') => {
      const out = new Float32Array(n * n);
      algebra.cholesky(rounded, n, out, { accumulate });
      return out;
    };
    const upper = (accumulate: 'float32' | 'float64') => {
      const out = new Float32Array(n * n);
      algebra.choleskyUpperOfInverse(rounded, n, out, { accumulate, damping: 1e-6 });
      return out;
    };
    expect(distance(factor('float64'), exact)).toBeLessThan(distance(factor('float32'), exact) / 10);
    // Rounded once: half a unit of each element, up to what the condition makes of float64 roundings.
    expect(distance(factor('float64'), exact)).toBeLessThan(1.01 * EPSILON[4] * norm(exact));
    expect(distance(upper('float64'), inverse)).toBeLessThan(distance(upper('float32'), inverse) / 10);
    const l = factor('float32');
    expect(largestDifference(product(l, l, n, true), a)).toBeLessThan((n + 2) * EPSILON[4] * Math.max(...a));
  }
});

it('refuses sizes and types that do not fit, and outputs that overlap in part', () => {
  const f = (length: number) => new Float32Array(length);
  for (const algebra of algebras) {
    for (const name of ['cholesky', 'invertLower', 'invertPositiveDefinite', 'choleskyUpperOfInverse'] as const) {
      const refused = (code: string, run: () => unknown) => expect(run).toThrow(expect.objectContaining({ code }));
      refused('SHAPE', () => algebra[name](f(5), 2, f(4)));
      refused('SHAPE', () => algebra[name](f(4), 2, f(5)));
      refused('SHAPE', () => algebra[name](f(4), -2, f(4)));
      refused('DTYPE', () => algebra[name](f(4), 2, new Float64Array(4)));
      const buffer = f(8);
      refused('RANGE', () => algebra[name](buffer.subarray(0, 4), 2, buffer.subarray(1, 5)));
      expect(algebra[name](f(0), 0, f(0))).toBeUndefined();
    }
  }
});

import {
  cholesky,
  choleskySolve,
  invertLower,
  invertPositiveDefinite,
  solveLower,
  solveLowerTransposed,
  solveUpper,
} from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gaussInverse, identity, largestDifference, multiply, randomPositiveDefinite, transpose } from './matrices.js';

const cases = fc.record({ n: fc.integer({ min: 1, max: 24 }), seed: fc.integer() });

describe('cholesky', () => {
  it('gives a lower factor whose square is the matrix', () => {
    fc.assert(
      fc.property(cases, ({ n, seed }) => {
        const a = randomPositiveDefinite(n, seed);
        const l = cholesky(a, n);
        expect(largestDifference(multiply(l, transpose(l, n), n), a)).toBeLessThan(1e-12 * n * Math.max(...a));
        for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) expect(l[i * n + j]).toBe(0);
      }),
    );
  });

  it('may overwrite its input and reads the lower triangle only', () => {
    const n = 9;
    const a = randomPositiveDefinite(n, 3);
    const expected = cholesky(a, n);
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) a[i * n + j] = Number.NaN;
    expect(cholesky(a, n, a)).toBe(a);
    expect(a).toEqual(expected);
  });

  it('names the failing pivot and the fix', () => {
    const a = identity(4);
    a[2 * 4 + 2] = -1;
    expect(() => cholesky(a, 4)).toThrow(
      expect.objectContaining({ code: 'NUMERIC', details: expect.objectContaining({ pivot: 2 }) }),
    );
    expect(() => cholesky(a, 4)).toThrow(/pivot 2 is -1; add to the diagonal/);
    expect(() => cholesky(Float64Array.of(Number.NaN), 1)).toThrow(/pivot 0/);
    expect(() => cholesky(Float64Array.of(0), 1)).toThrow(/pivot 0/);
    expect(() => cholesky(new Float64Array(5), 2)).toThrow(expect.objectContaining({ code: 'SHAPE' }));
  });

  it('factors the empty matrix', () => {
    expect(cholesky(new Float64Array(0), 0)).toHaveLength(0);
  });
});

describe('triangular solves', () => {
  it('undo the product', () => {
    fc.assert(
      fc.property(cases, ({ n, seed }) => {
        const a = randomPositiveDefinite(n, seed, 1);
        const l = cholesky(a, n);
        const u = transpose(l, n);
        const x = Float64Array.from({ length: n }, (_, i) => Math.sin(i + seed));
        const times = (m: Float64Array) =>
          Float64Array.from({ length: n }, (_, i) => x.reduce((total, value, j) => total + m[i * n + j]! * value, 0));
        const tolerance = 1e-9;
        expect(largestDifference(solveLower(l, n, times(l)), x)).toBeLessThan(tolerance);
        expect(largestDifference(solveUpper(u, n, times(u)), x)).toBeLessThan(tolerance);
        expect(largestDifference(solveLowerTransposed(l, n, times(u)), x)).toBeLessThan(tolerance);
        expect(largestDifference(choleskySolve(l, n, times(a)), x)).toBeLessThan(tolerance);
      }),
    );
  });
});

describe('inverses', () => {
  it('are inverses, symmetric, and agree with elimination', () => {
    fc.assert(
      fc.property(cases, ({ n, seed }) => {
        const a = randomPositiveDefinite(n, seed, 1);
        const l = cholesky(a, n);
        expect(largestDifference(multiply(l, invertLower(l, n), n), identity(n))).toBeLessThan(1e-9);
        const inverse = invertPositiveDefinite(a, n);
        expect(inverse).toEqual(transpose(inverse, n));
        expect(largestDifference(inverse, gaussInverse(a, n))).toBeLessThan(1e-9);
      }),
    );
  });
});

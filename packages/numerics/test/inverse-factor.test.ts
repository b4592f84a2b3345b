import { cholesky, choleskyUpperOfInverse, INVERSE_FACTOR_DEFAULTS, invertPositiveDefinite } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gaussInverse, largestDifference, multiply, randomPositiveDefinite, transpose } from './matrices.js';

function damped(h: Float64Array, n: number, damping: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i]!;
  return h.map((value, at) => value + (at % (n + 1) === 0 ? (damping * trace) / n : 0));
}

describe('choleskyUpperOfInverse', () => {
  it('is the upper factor of the directly computed inverse', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.integer(), fc.constantFrom(0.01, 0.1, 1), (n, seed, damping) => {
        const h = randomPositiveDefinite(n, seed);
        const before = h.slice();
        const u = choleskyUpperOfInverse(h, n, { damping });
        expect(h).toEqual(before);
        const inverse = gaussInverse(damped(h, n, damping), n);
        expect(largestDifference(multiply(transpose(u, n), u, n), inverse)).toBeLessThan(1e-8);
        const direct = transpose(cholesky(invertPositiveDefinite(damped(h, n, damping), n), n), n);
        expect(largestDifference(u, direct)).toBeLessThan(1e-8);
        for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) expect(u[i * n + j]).toBe(0);
      }),
    );
  });

  it('squares its diagonal to the inverse of the trailing block', () => {
    // GPTQ's step i sees only columns i and later: (H[i:, i:])⁻¹[0, 0] = U[i, i]².
    const n = 8;
    const h = randomPositiveDefinite(n, 11, 1);
    const u = choleskyUpperOfInverse(h, n, { damping: 0 });
    for (let i = 0; i < n; i++) {
      const m = n - i;
      const block = Float64Array.from({ length: m * m }, (_, at) => h[(i + Math.floor(at / m)) * n + i + (at % m)]!);
      expect(u[i * n + i]! ** 2).toBeCloseTo(gaussInverse(block, m)[0]!, 9);
    }
  });

  it('makes a singular matrix usable by damping, and says which index fails without', () => {
    const h = Float64Array.of(1, 1, 1, 1);
    expect(choleskyUpperOfInverse(h, 2).every(Number.isFinite)).toBe(true);
    expect(INVERSE_FACTOR_DEFAULTS.damping).toBe(0.01);
    expect(() => choleskyUpperOfInverse(h, 2, { damping: 0 })).toThrow(/index 0; raise damping/);
    expect(() => choleskyUpperOfInverse(Float64Array.of(Number.NaN), 1)).toThrow(
      expect.objectContaining({ code: 'NUMERIC' }),
    );
    expect(() => choleskyUpperOfInverse(h, 2, { damping: -1 })).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
  });
});

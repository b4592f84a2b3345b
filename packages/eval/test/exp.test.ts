import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expNegative } from '../src/internal/exp.js';

describe('expNegative', () => {
  it('agrees with Math.exp to a few units in the last place', () => {
    fc.assert(
      fc.property(fc.double({ min: -699, max: 0, noNaN: true }), (x) => {
        expect(Math.abs(expNegative(x) / Math.exp(x) - 1)).toBeLessThan(1e-15);
      }),
      { numRuns: 2000 },
    );
  });

  it('is exact at 0, 0 far below and NaN for NaN', () => {
    expect(expNegative(0)).toBe(1);
    expect(expNegative(-0)).toBe(1);
    expect(expNegative(-1e-300)).toBe(1);
    expect(expNegative(-701)).toBe(0);
    expect(expNegative(Number.NEGATIVE_INFINITY)).toBe(0);
    expect(expNegative(Number.NaN)).toBeNaN();
  });
});

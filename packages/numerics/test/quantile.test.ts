import { quantile, quantiles } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('quantile', () => {
  it('interpolates at (n - 1) * fraction', () => {
    expect(quantile([3, 1, 2, 4], 0.5)).toBe(2.5);
    expect(quantiles([10, 20, 30, 40, 50], [0, 0.1, 0.25, 1])).toEqual([10, 14, 20, 50]);
    expect(quantile([7], 0.3)).toBe(7);
    expect(quantile([-Infinity, -Infinity, 1], 0.2)).toBe(-Infinity);
  });

  it('rises with the fraction, between the extremes, and leaves the input alone', () => {
    const xs = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), { minLength: 1 });
    const unit = fc.double({ noNaN: true, min: 0, max: 1 });
    fc.assert(
      fc.property(xs, unit, unit, (values, f, g) => {
        const copy = [...values];
        const [low, high] = quantiles(values, [Math.min(f, g), Math.max(f, g)]) as [number, number];
        expect(low).toBeLessThanOrEqual(high);
        expect(low).toBeGreaterThanOrEqual(Math.min(...values));
        expect(high).toBeLessThanOrEqual(Math.max(...values));
        expect(values).toEqual(copy);
      }),
    );
  });

  it('refuses what has no quantile', () => {
    expect(() => quantile([], 0.5)).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => quantile([1], 1.5)).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => quantile([1, Number.NaN], 0.5)).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
  });
});

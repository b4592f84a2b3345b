import { addValue, addValues, createMoments, mergeMoments, standardError, variance } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const values = fc.array(fc.double({ noNaN: true, min: -1e3, max: 1e3 }), { minLength: 2, maxLength: 60 });

describe('moments', () => {
  it('agree with the two-pass formulas', () => {
    fc.assert(
      fc.property(values, (xs) => {
        const moments = createMoments();
        addValues(moments, xs);
        const mean = xs.reduce((a, b) => a + b, 0) / xs.length;
        const squares = xs.reduce((total, x) => total + (x - mean) ** 2, 0);
        expect(moments.count).toBe(xs.length);
        expect(moments.mean).toBeCloseTo(mean, 8);
        expect(variance(moments)).toBeCloseTo(squares / (xs.length - 1), 5);
        expect(variance(moments, 0)).toBeCloseTo(squares / xs.length, 5);
        expect(standardError(moments)).toBeCloseTo(Math.sqrt(squares / (xs.length - 1) / xs.length), 5);
      }),
    );
  });

  it('merge as if seen together, in any split', () => {
    fc.assert(
      fc.property(values, fc.nat(), (xs, at) => {
        const cut = at % (xs.length + 1);
        const whole = createMoments();
        addValues(whole, xs);
        const left = createMoments();
        addValues(left, xs.slice(0, cut));
        const right = createMoments();
        addValues(right, xs.slice(cut));
        mergeMoments(left, right);
        expect(left.count).toBe(whole.count);
        expect(left.mean).toBeCloseTo(whole.mean, 8);
        expect(left.squares).toBeCloseTo(whole.squares, 3);
      }),
    );
  });

  it('survive a large offset', () => {
    const moments = createMoments();
    for (const x of [4, 7, 13, 16]) addValue(moments, 1e9 + x);
    expect(variance(moments)).toBeCloseTo(30, 9);
  });

  it('have no variance below two values', () => {
    const moments = createMoments();
    expect(variance(moments)).toBeNaN();
    addValue(moments, 3);
    expect(variance(moments)).toBeNaN();
    expect(variance(moments, 0)).toBe(0);
    mergeMoments(moments, createMoments());
    expect(moments).toEqual({ count: 1, mean: 3, squares: 0 });
  });
});

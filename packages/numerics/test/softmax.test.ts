import { logSoftmax, logSumExp, softmax, sum } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const logits = fc.array(fc.double({ noNaN: true, min: -50, max: 50 }), { minLength: 1, maxLength: 40 });

describe('softmax', () => {
  it('sums to one, and its logarithm is logSoftmax', () => {
    fc.assert(
      fc.property(logits, (xs) => {
        const p = softmax(xs);
        const logs = logSoftmax(xs);
        expect(sum(p)).toBeCloseTo(1, 12);
        for (let i = 0; i < xs.length; i++) expect(Math.exp(logs[i]!)).toBeCloseTo(p[i]!, 12);
      }),
    );
  });

  it('does not care about a shift, however large', () => {
    fc.assert(
      fc.property(logits, fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), (xs, shift) => {
        const rounded = xs.map((x) => Math.round(x * 1024) / 1024);
        expect(logSumExp(rounded.map((x) => x + shift))).toBeCloseTo(logSumExp(rounded) + shift, 5);
      }),
    );
    expect([...softmax([1e308, 1e308])]).toEqual([0.5, 0.5]);
  });

  it('handles infinities, NaN and nothing', () => {
    expect(logSumExp([])).toBe(-Infinity);
    expect(logSumExp([-Infinity, -Infinity])).toBe(-Infinity);
    expect(logSumExp([0, Infinity])).toBe(Infinity);
    expect(logSumExp([0, Number.NaN])).toBeNaN();
    expect([...softmax([0, -Infinity])]).toEqual([1, 0]);
  });

  it('may write over its input', () => {
    const xs = Float64Array.of(1, 2, 3);
    const expected = softmax(xs);
    expect(softmax(xs, xs)).toBe(xs);
    expect(xs).toEqual(expected);
  });
});

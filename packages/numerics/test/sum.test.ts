import { createSum, sum } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('sum', () => {
  it('keeps what plain addition loses', () => {
    expect(sum([1, 1e100, 1, -1e100])).toBe(2);
    expect(sum(new Float64Array(10).fill(0.1))).toBe(1);
    expect(sum([])).toBe(0);
  });

  it('is exact for fixed-point numbers of any order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -(2 ** 40), max: 2 ** 40 })), (xs) => {
        const exact = Number(xs.reduce((total, x) => total + BigInt(x), 0n)) / 1024;
        expect(sum(xs.map((x) => x / 1024)) + 0).toBe(exact + 0);
      }),
    );
  });

  it('passes infinity on', () => {
    const running = createSum();
    running.add(1);
    running.add(Infinity);
    running.add(1);
    expect(running.total).toBe(Infinity);
    running.add(-Infinity);
    expect(running.total).toBeNaN();
  });
});

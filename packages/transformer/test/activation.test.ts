import { describe, expect, it } from 'vitest';
import { activate, gelu } from '../src/activation.js';

/** The normal distribution function by Simpson's rule from 0. */
function integrated(x: number): number {
  const n = 4000;
  const h = x / n;
  let sum = 1 + Math.exp(-0.5 * x * x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * Math.exp(-0.5 * (i * h) ** 2);
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

describe('gelu', () => {
  it('is x times the normal distribution function', () => {
    for (let x = -6; x <= 6; x += 0.137) expect(Math.abs(gelu(x) - x * integrated(x))).toBeLessThan(1e-12);
  });

  it('keeps its relative precision in the tail, where the series meets the continued fraction', () => {
    // Mills' ratio bounds: phi(x) x / (x^2 + 1) < tail < phi(x) / x.
    for (let x = 2.9; x < 30; x += 0.05) {
      const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
      const tail = gelu(-x) / -x;
      expect(tail).toBeGreaterThan((density * x) / (x * x + 1));
      expect(tail).toBeLessThan(density / x);
    }
    expect(gelu(-3 + 1e-9) / gelu(-3 - 1e-9)).toBeCloseTo(1, 7);
  });

  it('has its limits', () => {
    expect(gelu(0)).toBe(0);
    expect(gelu(50)).toBe(50);
    expect(gelu(-50)).toBe(-0);
    expect(gelu(Number.NaN)).toBeNaN();
  });
});

describe('activate', () => {
  it('touches the first values only, and multiplies by the factor', () => {
    const x = Float32Array.of(1, -1, 5);
    activate('silu', x, 2, Float32Array.of(2, 3));
    expect(x[0]).toBeCloseTo(2 / (1 + Math.exp(-1)), 6);
    expect(x[1]).toBeCloseTo(-3 / (1 + Math.exp(1)), 6);
    expect(x[2]).toBe(5);
  });

  it('does not overflow for large negative inputs', () => {
    const x = Float32Array.of(-1000, 1000);
    activate('silu', x, 2);
    expect([...x]).toEqual([-0, 1000]);
    const y = Float32Array.of(-1000, 1000);
    activate('gelu_tanh', y, 2);
    expect([...y]).toEqual([-0, 1000]);
  });
});

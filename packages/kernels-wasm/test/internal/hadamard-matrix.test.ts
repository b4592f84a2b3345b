import { describe, expect, it } from 'vitest';
import { plainOperations } from '../../src/index.js';
import { hadamardFactors, hadamardMatrix } from '../../src/internal/hadamard-matrix.js';

describe.each([1, 12, 20, 28] as const)('the Hadamard matrix of order %i', (order) => {
  const h = hadamardMatrix(order);
  const entry = (i: number, j: number) => h[i * order + j];

  it('has entries 1 and -1, orthogonal rows, and is symmetric', () => {
    for (let i = 0; i < order; i++) {
      for (let j = 0; j < order; j++) {
        expect(Math.abs(entry(i, j))).toBe(1);
        expect(entry(i, j)).toBe(entry(j, i));
        let dot = 0;
        for (let k = 0; k < order; k++) dot += entry(i, k) * entry(j, k);
        expect(dot).toBe(i === j ? order : 0);
      }
    }
  });

  it('is what the transform multiplies by, with Sylvester inside', () => {
    const size = 4 * order;
    const sylvester = (i: number, j: number) => ((i & j & 1) ^ ((i & j) >> 1) ? -1 : 1);
    for (let j = 0; j < size; j++) {
      const unit = new Float32Array(size);
      unit[j] = Math.sqrt(size);
      plainOperations().walshHadamard(unit, 1, size);
      unit.forEach((value, i) => {
        expect(value).toBeCloseTo(entry(i >> 2, j >> 2) * sylvester(i & 3, j & 3), 6);
      });
    }
  });
});

it('sizes are one order times a power of two, or none', () => {
  expect(hadamardFactors(4096)).toEqual({ order: 1, exponent: 12 });
  expect(hadamardFactors(768)).toEqual({ order: 12, exponent: 6 });
  expect(hadamardFactors(5120)).toEqual({ order: 20, exponent: 8 });
  expect(hadamardFactors(14336)).toEqual({ order: 28, exponent: 9 });
  for (const size of [3, 6, 36, 44, 100, 5632]) expect(hadamardFactors(size)).toBeUndefined();
});

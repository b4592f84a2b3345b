import { type LatticeName, latticeVectors } from '@halftone/tensor/codebooks';
import { describe, expect, it } from 'vitest';
import { latticeSearch } from '../src/internal/lattice-search.js';
import { seededUniform } from './weights.js';

const LATTICES: readonly (readonly [LatticeName, number])[] = [
  ['iq1', 8],
  ['iq2_xxs', 8],
  ['iq2_xs', 8],
  ['iq2_s', 8],
  ['iq3_xxs', 4],
  ['iq3_s', 4],
];

describe('latticeSearch', () => {
  for (const [name, dimension] of LATTICES) {
    it(`${name}: finds a vector as near as any, under even, uneven and partly zero weights`, () => {
      const vectors = latticeVectors(name);
      const largest = Math.max(...vectors);
      const search = latticeSearch(vectors, dimension);
      const uniform = seededUniform(5);
      const x = new Float64Array(dimension + 3);
      const w = new Float64Array(dimension + 3);
      const distance = (entry: number) => {
        let sum = 0;
        for (let i = 0; i < dimension; i++) sum += w[3 + i] * (x[3 + i] - vectors[entry * dimension + i]) ** 2;
        return sum;
      };
      for (let trial = 0; trial < 120; trial++) {
        for (let i = 0; i < x.length; i++) {
          x[i] = (2.6 * uniform() - 1.3) * largest;
          w[i] = trial % 3 === 0 ? 1 : trial % 3 === 1 ? 10 ** (8 * uniform() - 4) : Math.max(0, uniform() - 0.5);
        }
        const found = distance(search.nearest(x, w, 3));
        let least = Infinity;
        for (let entry = 0; entry < vectors.length / dimension; entry++) least = Math.min(least, distance(entry));
        expect(found).toBeLessThanOrEqual(least * (1 + 1e-9) + 1e-9);
      }
    });
  }

  it('ends on weights of zero and on values beyond all lattices', () => {
    for (const [name, dimension] of LATTICES) {
      const search = latticeSearch(latticeVectors(name), dimension);
      const at = (value: number, weight: number) =>
        search.nearest(new Float64Array(dimension).fill(value), new Float64Array(dimension).fill(weight), 0);
      for (const [value, weight] of [
        [1, 0],
        [-1e300, 1],
        [1e300, 1e300],
        [5, 1e-320],
      ]) {
        expect(at(value, weight)).toBeGreaterThanOrEqual(0);
      }
    }
  });
});

import { tensor } from '@halftone/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { wasmBackend } from '../src/index.js';
import { noise, quantizedNoise } from './noise.js';
import { BUILDS, product } from './product.js';
import { withSides } from './sides.js';

/** Outputs that do not fit into a memory's scratch space all at once. */
describe.each(BUILDS)('layers wider than memory has room for, in the %s build', (build) => {
  const backend = wasmBackend({ build, activations: 'int8-row', threads: 1, memoryBytes: 2 ** 24 });
  afterAll(() => backend.dispose());
  const grid = { type: 'affine', bits: 8, signed: true, symmetric: true } as const;
  const scheme = { name: 'affine', version: 1, grid, granularity: { type: 'axis', axis: 0 } } as const;
  const q = quantizedNoise(scheme, [30000, 32]);

  it.each([
    ['plain', q],
    ['with side branches', withSides(q, { channelScale: true, rank: 2 })],
    ['of floats', tensor(noise(10000 * 32), [10000, 32])],
  ])('work on some rows after the others: %s', (_, weight) => {
    const x = noise(150 * 32);
    const all = product(backend, weight, x, 150);
    for (const first of [0, 148]) {
      const some = product(backend, weight, x.slice(first * 32, (first + 2) * 32), 2);
      const from = all.subarray(first * weight.shape[0], (first + 2) * weight.shape[0]);
      expect(some.every((value, i) => value === from[i])).toBe(true);
    }
  });
});

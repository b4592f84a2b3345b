import { describe, expect, it } from 'vitest';
import { linearLayers } from '../../src/internal/linear-layers.js';
import { isTrying, type ReadAhead, readAhead, readsAhead, recordTrial } from '../../src/internal/read-ahead.js';
import { machine } from '../../src/runtime.js';
import { noise, quantizedNoise } from '../noise.js';
import { BUILDS } from '../product.js';

/** Trials with times for products with and without reading ahead. */
function tried(plain: number, ahead: number): ReadAhead {
  const state = readAhead(2 ** 24);
  while (isTrying(state)) recordTrial(state, readsAhead(state) ? ahead : plain);
  return state;
}

describe('readAhead', () => {
  it('tries both ways equally often and takes the faster one', () => {
    const state = readAhead(2 ** 24);
    let count = 0;
    let ahead = 0;
    for (; isTrying(state); count++) {
      if (readsAhead(state)) ahead++;
      recordTrial(state, 1);
    }
    expect(ahead).toBe(count / 2);
    expect(readsAhead(tried(1, 0.8))).toBe(true);
    expect(readsAhead(tried(1, 1.2))).toBe(false);
  });

  it('leaves it where nothing is gained', () => expect(readsAhead(tried(1, 1))).toBe(false));

  it('does not try with small weights', () => {
    expect(isTrying(readAhead(1000))).toBe(false);
    expect(readsAhead(readAhead(1000))).toBe(false);
  });
});

describe.each(BUILDS)('one-row products of the %s build', (build) => {
  it('are the same whether or not they read ahead', async () => {
    const runtime = machine({ build, threads: 2, memoryBytes: 2 ** 26 });
    const { uploadLinear, linear } = linearLayers(runtime, 'int8');
    for (const bits of [2, 4, 8]) {
      const grid = { type: 'affine', bits, signed: true, symmetric: true } as const;
      const scheme = { name: 'affine', version: 1, grid, granularity: { type: 'tensor' } } as const;
      const weight = uploadLinear(quantizedNoise(scheme, [4099, 1030]));
      const x = noise(1030);
      const [first, ...others] = Array.from({ length: 8 }, () => {
        const out = new Float32Array(4099);
        linear(weight, x, 1, out);
        return out;
      });
      for (const other of others) expect(other.every((value, i) => value === first[i])).toBe(true);
    }
    await runtime.dispose();
  });
});

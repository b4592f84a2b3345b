import { afterAll, describe, expect, it } from 'vitest';
import { machine } from '../../src/runtime.js';

describe('arena', () => {
  const runtimes = [1, 2].map(() => machine({ build: 'simd', threads: 1, memoryBytes: 2 ** 27 }));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it('knows its arrays, also when other memories have grown', () => {
    const arrays = runtimes.map(() => [] as Float32Array[]);
    for (let round = 0; round < 5; round++) {
      for (const [i, runtime] of runtimes.entries()) arrays[i].push(runtime.allocate(2 ** 20));
      runtimes.forEach((runtime, i) => {
        const homes = arrays[i].map((array) => runtime.arenaOf(array.subarray(3)));
        expect(homes.every((home) => home !== undefined && home === homes[0])).toBe(true);
        expect(runtimes[1 - i].arenaOf(arrays[i][0])).toBeUndefined();
      });
    }
  });
});

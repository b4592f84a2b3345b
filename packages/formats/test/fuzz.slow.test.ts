import { describe, expect, it } from 'vitest';
import { fuzz } from '../fuzz/fuzz.js';
import { FUZZ_TARGETS } from '../fuzz/targets.js';

describe('damaged files', () => {
  it.each(FUZZ_TARGETS.map((target) => [target.name, target] as const))(
    '%s: are read or refused, quickly, in little memory',
    async (_name, target) => {
      const { runs, refused, failures } = await fuzz(target, { runs: 20_000 });
      expect(failures).toEqual([]);
      expect(runs).toBe(20_000);
      expect(refused).toBeGreaterThan(0);
    },
  );
});

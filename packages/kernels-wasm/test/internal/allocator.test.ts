import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocator } from '../../src/internal/allocator.js';

describe('allocator', () => {
  it('never hands out a byte twice, nor beyond the limit', () => {
    const step = fc.record({ size: fc.integer({ min: 0, max: 500 }), free: fc.option(fc.nat(), { nil: undefined }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const memory = allocator(100);
        const taken: { start: number; end: number }[] = [];
        for (const { size, free } of steps) {
          if (free !== undefined && taken.length > 0) memory.free(taken.splice(free % taken.length, 1)[0].start);
          const start = memory.allocate(size, 4096);
          if (start === undefined) continue;
          expect(start % 64).toBe(0);
          expect(start >= 100 && start + size <= 4096).toBe(true);
          for (const other of taken) expect(start >= other.end || start + size <= other.start).toBe(true);
          taken.push({ start, end: start + size });
        }
        for (const { start } of taken) memory.free(start);
        expect(memory.allocate(4096 - 128, 4096)).toBe(128);
      }),
    );
  });
});

import { fullCache } from '@halftone/kv-cache';
import { kvCacheChecks } from '@halftone/kv-cache/conformance';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const shape = { layers: 2, kvHeads: 2, headDim: 4 };

function rows(tokens: number, fill: (index: number) => number = (i) => i): Float32Array {
  return Float32Array.from({ length: tokens * 8 }, (_, i) => fill(i));
}

function positions(start: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => start + i);
}

describe('fullCache conforms', () => {
  it.each(kvCacheChecks((s) => fullCache(s)))('$name', ({ run }) => run());
  it.each(kvCacheChecks((s) => fullCache(s, { capacity: 100, maxLength: 100 })))('with capacity: $name', ({ run }) =>
    run(),
  );
});

describe('fullCache', () => {
  it('accounts for two float32 vectors and a position for each entry', () => {
    const cache = fullCache(shape);
    cache.append(1, rows(3), rows(3), positions(0, 3));
    expect(cache.byteLength).toBe(3 * 2 * (2 * 4 * 4 + 4));
    expect(cache.allocatedByteLength).toBeGreaterThanOrEqual(cache.byteLength);
  });

  it('grows by a bounded step and never allocates beyond maxLength', () => {
    const small = { layers: 1, kvHeads: 1, headDim: 1 };
    const unlimited = fullCache(small);
    const limited = fullCache(small, { maxLength: 1000 });
    for (let position = 0; position < 40_000; position += 100) {
      const values = new Float32Array(100);
      unlimited.append(0, values, values, positions(position, 100));
      if (position < 1000) limited.append(0, values, values, positions(position, 100));
      expect(unlimited.allocatedByteLength - unlimited.byteLength).toBeLessThanOrEqual(8192 * 12);
    }
    expect(limited.allocatedByteLength).toBe(limited.byteLength);
    expect(() => limited.append(0, new Float32Array(1), new Float32Array(1), positions(1000, 1))).toThrow(
      /maxLength 1000/,
    );
    expect(limited.length(0, 0)).toBe(1000);
  });

  it('forks are independent', () => {
    const cache = fullCache(shape, { maxLength: 8 });
    cache.append(0, rows(2), rows(2), positions(0, 2));
    const fork = cache.fork();
    fork.append(
      0,
      rows(1, () => 9),
      rows(1, () => 9),
      positions(2, 1),
    );
    cache.append(
      0,
      rows(1, () => -9),
      rows(1, () => -9),
      positions(2, 1),
    );
    cache.truncate(1);
    expect([...fork.view(0, 1).keys]).toEqual([4, 5, 6, 7, 12, 13, 14, 15, 9, 9, 9, 9]);
    expect(fork.length(0, 0)).toBe(3);
    expect(cache.length(0, 0)).toBe(1);
    expect(() => fork.append(0, rows(6), rows(6), positions(3, 6))).toThrow(/maxLength 8/);
    expect(() => fork.append(0, rows(1), rows(1), positions(2, 1))).toThrow(/does not come after 2/);
  });

  it('retain makes heads ragged, like a filter of the entries', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), (keep) => {
        const cache = fullCache(shape);
        const n = keep.length;
        cache.append(0, rows(n), rows(n), positions(5, n));
        const entries = keep.flatMap((kept, i) => (kept ? [i] : []));
        cache.retain(0, 1, entries);
        const view = cache.view(0, 1);
        expect([...view.positions]).toEqual(entries.map((i) => i + 5));
        expect([...view.keys]).toEqual(entries.flatMap((i) => [0, 1, 2, 3].map((j) => i * 8 + 4 + j)));
        expect(cache.length(0, 0)).toBe(n);
        cache.append(0, rows(1), rows(1), positions(5 + n, 1));
        expect(cache.length(0, 1)).toBe(entries.length + 1);
      }),
    );
  });

  it('does not reuse positions of entries that were not retained', () => {
    const cache = fullCache(shape);
    cache.append(0, rows(3), rows(3), positions(0, 3));
    cache.retain(0, 0, [0]);
    cache.retain(0, 1, []);
    expect(() => cache.append(0, rows(1), rows(1), positions(2, 1))).toThrow(/does not come after 2/);
    cache.truncate(2);
    cache.append(0, rows(1), rows(1), positions(2, 1));
    expect([...cache.view(0, 0).positions]).toEqual([0, 2]);
  });

  it('names what is wrong', () => {
    expect(() => fullCache({ layers: 0, kvHeads: 1, headDim: 1 })).toThrow(/layers is 0/);
    expect(() => fullCache(shape, { capacity: 5, maxLength: 4 })).toThrow(/capacity is 5/);
    const cache = fullCache(shape);
    cache.append(0, rows(2), rows(2), positions(0, 2));
    expect(() => cache.retain(0, 0, [1, 1])).toThrow(/entry 1/);
    expect(() => cache.retain(0, 0, [2])).toThrow(/below 2/);
    expect(() => cache.truncate(-1)).toThrow(/position -1/);
  });
});

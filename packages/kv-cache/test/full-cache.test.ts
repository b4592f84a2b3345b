import { type FullCache, fullCache } from '@halftone/kv-cache';
import { kvCacheChecks } from '@halftone/kv-cache/conformance';
import { HalftoneError } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const shape = { layers: 2, kvHeads: 2, headDim: 4 };

function rows(tokens: number, fill: (index: number) => number = (i) => i): Float32Array {
  return Float32Array.from({ length: tokens * 8 }, (_, i) => fill(i));
}

function positions(start: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => start + i);
}

/** What a view holds, without the unused room of its arrays. */
function held(cache: FullCache, layer: number, kvHead: number) {
  const { length, keys, values, positions: at } = cache.view(layer, kvHead);
  return {
    keys: [...keys.subarray(0, length * cache.headDim)],
    values: [...values.subarray(0, length * cache.headDim)],
    positions: [...at.subarray(0, length)],
  };
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
    expect(held(fork, 0, 1).keys).toEqual([4, 5, 6, 7, 12, 13, 14, 15, 9, 9, 9, 9]);
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
        const view = held(cache, 0, 1);
        expect(view.positions).toEqual(entries.map((i) => i + 5));
        expect(view.keys).toEqual(entries.flatMap((i) => [0, 1, 2, 3].map((j) => i * 8 + 4 + j)));
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
    expect(held(cache, 0, 0).positions).toEqual([0, 2]);
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

  it('gives views without making anything', () => {
    const cache = fullCache(shape);
    cache.append(0, rows(3), rows(3), positions(0, 3));
    const view = cache.view(0, 1);
    const { keys } = view;
    cache.append(0, rows(1), rows(1), positions(3, 1));
    expect(cache.view(0, 1)).toBe(view);
    expect(cache.view(0, 1).keys).toBe(keys);
    expect(view.length).toBe(4);
  });
});

/** Memory that knows which arrays are out, and has room for so many. */
function trackedMemory(room = Number.POSITIVE_INFINITY) {
  const out = new Set<Float32Array>();
  return {
    out,
    allocate(length: number) {
      if (out.size >= room) throw new HalftoneError('DEVICE', 'no room', { where: 'test' });
      const array = new Float32Array(length);
      out.add(array);
      return array;
    },
    free(array: Float32Array) {
      // What was freed must not be read any more.
      if (out.delete(array)) array.fill(Number.NaN);
    },
  };
}

describe('fullCache in a memory of its own', () => {
  it.each(kvCacheChecks((s) => fullCache(s, { memory: trackedMemory() })))('$name', ({ run }) => run());

  it('keeps two arrays a head there and gives all of them back', () => {
    const memory = trackedMemory();
    const cache = fullCache(shape, { memory, capacity: 2 });
    expect(memory.out.size).toBe(2 * 2 * 2);
    for (let position = 0; position < 100; position += 4) cache.append(1, rows(4), rows(4), positions(position, 4));
    expect(memory.out.size).toBe(2 * 2 * 2);
    const fork = cache.fork();
    expect(held(fork, 1, 1)).toEqual(held(cache, 1, 1));
    expect(memory.out.has(fork.view(1, 1).keys)).toBe(true);
    cache.dispose();
    expect(memory.out.size).toBe(2 * 2);
    expect(cache.byteLength + cache.allocatedByteLength).toBe(0);
    expect(fork.length(1, 0)).toBe(100);
    cache.append(1, rows(1), rows(1), positions(0, 1));
    expect(held(cache, 1, 0).positions).toEqual([0]);
    cache.dispose();
    fork.dispose();
    fork.dispose();
    expect(memory.out.size).toBe(0);
  });

  it.each([0, 1, 2, 3])('leaves all as it was when the memory is full after %i more arrays', (room) => {
    const memory = trackedMemory(4 + room);
    const cache = fullCache(shape, { memory });
    cache.append(0, rows(16), rows(16), positions(0, 16));
    const before = held(cache, 0, 1);
    if (room < 2) {
      expect(() => cache.append(0, rows(1), rows(1), positions(16, 1))).toThrow(/no room/);
      expect(memory.out.size).toBe(4);
    }
    expect(() => cache.append(1, rows(1), rows(1), positions(0, 1))).toThrow(/no room/);
    expect(() => cache.fork()).toThrow(/no room/);
    expect(held(cache, 0, 1)).toEqual(before);
    expect(cache.length(1, 0)).toBe(0);
    cache.dispose();
    expect(memory.out.size).toBe(0);
    expect(() => fullCache(shape, { memory: trackedMemory(room), capacity: 1 })).toThrow(/no room/);
  });
});

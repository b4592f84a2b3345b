import type { KvView } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attention } from '../src/attention.js';
import { noise } from './tiny-models.js';

/** Softmax over the entries that a query may see, written down plainly. */
function plain(query: Float32Array, position: number, entries: KvView, headDim: number, window: number): number[] {
  const seen = [...entries.positions.keys()].filter((t) => {
    const distance = position - entries.positions[t];
    return t < entries.length && distance >= 0 && distance < window;
  });
  const row = (data: Float32Array, t: number) => [...data.subarray(t * headDim, (t + 1) * headDim)];
  const scores = seen.map(
    (t) => row(entries.keys, t).reduce((sum, k, i) => sum + k * query[i], 0) / Math.sqrt(headDim),
  );
  const max = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - max));
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from({ length: headDim }, (_, i) =>
    seen.reduce((sum, t, j) => sum + (weights[j] / total) * entries.values[t * headDim + i], 0),
  );
}

const attend = attention();

describe('attention', () => {
  it('agrees with plain softmax for any rows, gaps in the cache, windows and head sizes', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 70 }),
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(undefined, 1, 3, 20),
        (start, rows, length, headDim, window) => {
          const next = noise(start);
          const [heads, kvHeads] = [4, 2];
          const take = (count: number) => Float32Array.from({ length: count }, () => 3 * next());
          // Entries with random gaps, as after eviction, ragged over heads; queries at random places among them.
          const increasing = (count: number) => {
            let at = -1;
            return Int32Array.from({ length: count }, () => {
              at += 1 + Math.floor((next() + 1) * 1.5);
              return at;
            });
          };
          const views: KvView[] = [length, Math.max(1, length - 5)].map((size) => ({
            length: size,
            keys: take(size * headDim + 7),
            values: take(size * headDim + 7),
            positions: increasing(size + 2),
          }));
          const positions = increasing(rows);
          const query = take(rows * heads * headDim);
          const out = new Float32Array(query.length).fill(99);
          attend({ heads, kvHeads, headDim, window }, query, positions, (head) => views[head], out);
          for (let row = 0; row < rows; row++) {
            for (let head = 0; head < heads; head++) {
              const at = (row * heads + head) * headDim;
              const expected = plain(
                query.subarray(at),
                positions[row],
                views[head >> 1],
                headDim,
                window ?? Number.POSITIVE_INFINITY,
              );
              for (const [i, value] of expected.entries()) expect(Math.abs(out[at + i] - value)).toBeLessThan(1e-5);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is stable for scores that overflow an exponential', () => {
    const entries = (sign: number): KvView => ({
      length: 2,
      keys: Float32Array.of(sign * 1e6, sign * 0.9e6),
      values: Float32Array.of(3, 5),
      positions: Int32Array.of(0, 1),
    });
    for (const rows of [1, 6]) {
      const positions = Int32Array.from({ length: rows }, (_, i) => i + 1);
      const query = new Float32Array(rows).fill(100);
      const out = new Float32Array(rows);
      attend({ heads: 1, kvHeads: 1, headDim: 1 }, query, positions, () => entries(1), out);
      expect([...out]).toEqual(new Array(rows).fill(3));
      attend({ heads: 1, kvHeads: 1, headDim: 1 }, query, positions, () => entries(-1), out);
      expect([...out]).toEqual(new Array(rows).fill(5));
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('keeps a value of %s from rows that do not see it', (broken) => {
    const [rows, headDim, at, window] = [12, 5, 6, 3];
    const next = noise(4);
    const take = () => Float32Array.from({ length: rows * headDim }, next);
    const positions = Int32Array.from({ length: rows }, (_, i) => i);
    const entries: KvView = { length: rows, keys: take(), values: take(), positions };
    const query = take();
    const result = (values: Float32Array) => {
      const out = new Float32Array(rows * headDim);
      const view = () => ({ ...entries, values });
      attend({ heads: 1, kvHeads: 1, headDim, window }, query, positions, view, out);
      return out;
    };
    const damaged = entries.values.with(at * headDim + 2, broken);
    const [expected, actual] = [result(entries.values), result(damaged)];
    for (let row = 0; row < rows; row++) {
      const sees = row >= at && row < at + window;
      for (let i = 0; i < headDim; i++) {
        const value = actual[row * headDim + i];
        if (sees && i === 2) expect(value).toBe(broken);
        else expect(value).toBeCloseTo(expected[row * headDim + i], 6);
      }
    }
  });
});

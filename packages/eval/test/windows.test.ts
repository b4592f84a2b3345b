import { windows } from '@halftone/eval';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const tokens = Int32Array.from({ length: 11 }, (_, i) => i + 1);
const plain = (list: ReturnType<typeof windows>) =>
  list.map(({ input, score }) => ({ input: [...input], score: [score.start, score.end] }));

describe('windows', () => {
  it('cuts disjoint windows and drops the remainder', () => {
    expect(plain(windows(tokens, { window: 4 }))).toEqual([
      { input: [1, 2, 3, 4], score: [1, 4] },
      { input: [5, 6, 7, 8], score: [1, 4] },
    ]);
  });

  it('keeps the remainder when asked', () => {
    expect(plain(windows(tokens, { window: 4, remainder: 'keep' }))[2]).toEqual({ input: [9, 10, 11], score: [1, 3] });
    expect(windows(tokens.subarray(0, 9), { window: 4, remainder: 'keep' })).toHaveLength(2);
  });

  it('puts BOS once before the stream, unless it is there', () => {
    const at = { window: 4, bos: 'streamStart', bosToken: 0 } as const;
    expect(plain(windows(tokens, at)).map((w) => w.input)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 10, 11],
    ]);
    expect([...windows(tokens, { ...at, bosToken: 1 })[0].input]).toEqual([1, 2, 3, 4]);
  });

  it('puts BOS in place of the first token and leaves the text alone', () => {
    const cut = windows(tokens, { window: 4, bos: 'replaceFirst', bosToken: 0, scoreFrom: 'half' });
    expect(plain(cut)).toEqual([
      { input: [0, 2, 3, 4], score: [3, 4] },
      { input: [0, 6, 7, 8], score: [3, 4] },
    ]);
    expect(tokens[0]).toBe(1);
  });

  it('puts BOS before each window, so that every text token is scored', () => {
    const cut = windows(tokens, { window: 4, bos: 'prepend', bosToken: 0, remainder: 'keep' });
    expect(plain(cut).map((w) => w.input)).toEqual([
      [0, 1, 2, 3],
      [0, 4, 5, 6],
      [0, 7, 8, 9],
      [0, 10, 11],
    ]);
    expect(cut.reduce((sum, { score }) => sum + score.end - score.start, 0)).toBe(tokens.length);
  });

  it('scores every token but the first exactly once in sliding windows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 2, max: 20 }), fc.nat(), (count, window, seed) => {
        const stream = Int32Array.from({ length: count }, (_, i) => i);
        const stride = 1 + (seed % window);
        const cut = windows(stream, { window, stride, scoreFrom: 'unseen', remainder: 'keep' });
        const scored = cut.flatMap(({ input, score }) => [...input.subarray(score.start, score.end)]);
        const missing = new Set(stream);
        for (const token of scored) expect(missing.delete(token)).toBe(true);
        // Disjoint windows leave their first tokens out: nothing before them is in the window.
        if (stride < window) expect([...missing]).toEqual([0]);
      }),
    );
  });

  it('refuses what cannot be', () => {
    expect(() => windows(tokens, { window: 1 })).toThrow(/window is 1/);
    expect(() => windows(tokens, { window: 4, stride: 5 })).toThrow(/stride is 5/);
    expect(() => windows(tokens, { window: 4, scoreFrom: 4 })).toThrow(/scoreFrom is 4/);
    expect(() => windows(tokens, { window: 4, bos: 'prepend' })).toThrow(/no bosToken/);
  });
});

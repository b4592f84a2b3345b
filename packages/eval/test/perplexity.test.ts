import { PROTOCOLS, type Protocol, perplexity } from '@halftone/eval';
import { isHalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { copyPrevious, counting, fakeModel, uniform, unigram } from './fake-models.js';

const protocol = (overrides: Partial<Protocol>): Protocol => ({ ...PROTOCOLS.disjoint, ...overrides });

describe('perplexity of closed-form models', () => {
  it.each(Object.values(PROTOCOLS))('is the vocabulary size for a uniform model: $name', async (preset) => {
    const result = await perplexity(
      uniform(50, { contextLength: 16, bos: 0, addsBos: true }),
      counting(100, 50),
      preset,
    );
    expect(result.perplexity).toBeCloseTo(50, 9);
    expect(result.standardError).toBeCloseTo(0, 9);
  });

  it('is that of the text for a unigram model', async () => {
    const probabilities = [0.5, 0.25, 0.125, 0.125];
    const tokens = counting(32, 4);
    const result = await perplexity(unigram(probabilities), tokens, protocol({ window: 8 }));
    const scored = [...tokens].filter((_, i) => i % 8 !== 0);
    const expected = scored.reduce((sum, token) => sum - Math.log(probabilities[token]), 0) / scored.length;
    expect(result.meanNll).toBeCloseTo(expected, 6);
    expect(result.scoredTokens).toBe(28);
    expect(result.windowNlls).toHaveLength(4);
  });

  it('shows where BOS stands in each window for a model that copies the previous token', async () => {
    const tokens = new Int32Array(32).fill(5);
    const model = copyPrevious(8, 0.9, { bos: 0, addsBos: true });
    const hit = -Math.log(0.9);
    const miss = -Math.log(0.1 / 7);
    const nll = async (overrides: Partial<Protocol>) =>
      (await perplexity(model, tokens, protocol({ window: 8, ...overrides }))).windowNlls;
    expect(await nll({ bos: 'none' })).toEqual(Array(4).fill(expect.closeTo(hit, 6)));
    expect(await nll({ bos: 'replaceFirst' })).toEqual(Array(4).fill(expect.closeTo((miss + 6 * hit) / 7, 6)));
    expect(await nll({ bos: 'prepend' })).toEqual(Array(4).fill(expect.closeTo((miss + 6 * hit) / 7, 6)));
    const [first, ...others] = await nll({ bos: 'streamStart' });
    expect(first).toBeCloseTo((miss + 6 * hit) / 7, 6);
    expect(others).toEqual(Array(3).fill(expect.closeTo(hit, 6)));
    // The second half of a window never sees the replaced token.
    expect(await nll({ bos: 'replaceFirst', scoreFrom: 'half' })).toEqual(Array(4).fill(expect.closeTo(hit, 6)));
  });

  it('ignores BOS modes for models that add none', async () => {
    const model = copyPrevious(8, 0.9, { bos: 0 });
    const result = await perplexity(model, new Int32Array(32).fill(5), protocol({ window: 8, bos: 'replaceFirst' }));
    expect(result.protocol.bos).toBe('none');
    expect(result.meanNll).toBeCloseTo(-Math.log(0.9), 6);
  });
});

describe('protocol presets', () => {
  it('score the number of tokens that their originals score', async () => {
    const tokens = counting(5000, 4);
    const model = uniform(4, { contextLength: 4096, blockRows: 100 });
    const gptq = await perplexity(model, tokens, PROTOCOLS['gptq-2048']);
    expect([gptq.windows, gptq.scoredTokens]).toEqual([2, 2 * 2047]);
    const llama = await perplexity(model, tokens, PROTOCOLS['llama.cpp']);
    expect([llama.windows, llama.scoredTokens]).toEqual([9, 9 * 255]);
    const sliding = await perplexity(model, tokens, PROTOCOLS['sliding-512']);
    expect(sliding.scoredTokens).toBe(4999);
  });

  it('are JSON', () => {
    expect(JSON.parse(JSON.stringify(PROTOCOLS))).toEqual(PROTOCOLS);
  });

  it('clamp the window to the context', async () => {
    const { protocol: settled, windows } = await perplexity(
      uniform(4, { contextLength: 32 }),
      counting(100, 4),
      PROTOCOLS['gptq-2048'],
    );
    expect(settled.window).toBe(32);
    expect(windows).toBe(3);
  });

  it('weigh windows or tokens', async () => {
    const model = copyPrevious(8, 0.9);
    const tokens = Int32Array.of(1, 1, 1, 1, 1, 1, 2, 3);
    const options = { window: 5, remainder: 'keep' } as const;
    const byToken = await perplexity(model, tokens, protocol(options));
    const byWindow = await perplexity(model, tokens, protocol({ ...options, reduce: 'meanOfMeans' }));
    const [a, b] = byToken.windowNlls;
    expect(byToken.meanNll).toBeCloseTo((4 * a + 2 * b) / 6, 12);
    expect(byWindow.meanNll).toBeCloseTo((a + b) / 2, 12);
  });
});

describe('perplexity', () => {
  it('does not depend on the block size and never feeds the last token', async () => {
    const tokens = counting(40, 7);
    const reference = await perplexity(copyPrevious(7, 0.3, { blockRows: 100 }), tokens, protocol({ window: 10 }));
    for (const blockRows of [1, 2, 4]) {
      const model = copyPrevious(7, 0.3, { blockRows });
      const { windowNlls } = await perplexity(model, tokens, protocol({ window: 10 }));
      expect(windowNlls).toEqual(reference.windowNlls);
      expect(model.inputs.map((input) => input.length)).toEqual([9, 9, 9, 9]);
    }
  });

  it('stops after maxWindows and reports progress', async () => {
    const done: number[] = [];
    const result = await perplexity(uniform(4), counting(100, 4), protocol({ window: 10 }), {
      maxWindows: 3,
      onProgress: (progress) => done.push(progress.done),
    });
    expect(result.windows).toBe(3);
    expect(done).toEqual([1, 2, 3]);
  });

  it('names the window and position of a NaN', async () => {
    const model = fakeModel(4, (prefix, out) => {
      out.fill(0);
      if (prefix.at(-1) === 3 && prefix.length === 4) out[2] = Number.NaN;
    });
    const tokens = Int32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0);
    const failure = await perplexity(model, tokens, protocol({ window: 6 })).catch((error) => error);
    expect(isHalftoneError(failure) && failure.code).toBe('NUMERIC');
    expect(failure.message).toMatch(/window 1, position 4/);
  });

  it('accepts minus infinity for tokens that are ruled out', async () => {
    const model = fakeModel(4, (_, out) => out.set([0, 0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]));
    expect((await perplexity(model, counting(20, 2), protocol({ window: 10 }))).perplexity).toBeCloseTo(2, 9);
  });

  it('refuses texts that do not fit the model', async () => {
    const run = (tokens: Int32Array) => perplexity(uniform(4), tokens, protocol({ window: 10 }));
    await expect(run(Int32Array.of(1, 4))).rejects.toThrow(/token 4 at 1 .* vocabulary of 4/);
    await expect(run(counting(9, 4))).rejects.toThrow(/9 tokens, too few/);
    await expect(perplexity(uniform(4, { addsBos: true }), counting(20, 4), PROTOCOLS['llama.cpp'])).rejects.toThrow(
      /does not name it/,
    );
  });

  it('stops when aborted, and closes the stream', async () => {
    const controller = new AbortController();
    let closed = false;
    const model = {
      vocabularySize: 4,
      contextLength: 16,
      async *logits(tokens: Int32Array, from: number) {
        try {
          for (let start = from; start < tokens.length; start++) {
            controller.abort();
            yield { start, rows: 1, logits: new Float32Array(4) };
          }
        } finally {
          closed = true;
        }
      },
    };
    const failure = await perplexity(model, counting(20, 4), protocol({}), { signal: controller.signal }).catch(
      (e) => e,
    );
    expect(failure.code).toBe('ABORTED');
    expect(closed).toBe(true);
  });

  it('refuses a model that gives other rows than asked for', async () => {
    const model = (block: { start: number; rows: number; logits: Float32Array }) => ({
      vocabularySize: 4,
      contextLength: 8,
      async *logits() {
        yield block;
      },
    });
    const run = (start: number, rows: number, length: number) =>
      perplexity(model({ start, rows, logits: new Float32Array(length) }), counting(8, 4), protocol({}));
    await expect(run(1, 1, 4)).rejects.toThrow(/expected rows of 4 from 0/);
    await expect(run(0, 2, 7)).rejects.toThrow(/7 logits/);
    await expect(run(0, 8, 32)).rejects.toThrow(/at most 7/);
    await expect(run(0, 2, 8)).rejects.toThrow(/stopped at position 2 of 7/);
  });
});

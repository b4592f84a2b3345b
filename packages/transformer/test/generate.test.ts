import { type FullCache, fullCache } from '@halftone/kv-cache';
import { tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import {
  type GeneratedToken,
  type GenerateOptions,
  type GeneratingModel,
  generate,
  generateText,
  loadTokenizer,
  type ModelConfig,
} from '../src/index.js';
import { byteTokenizerJson } from './byte-tokenizer.js';

const VOCABULARY = 257;
const tokenizer = loadTokenizer({ tokenizerJson: byteTokenizerJson() });

/** Predicts the text that is given, byte by byte by position, then token 256; asserts what it is asked. */
function scriptedModel(text: string, contextLength = 1000) {
  const script = [...tokenizer.encode(text), 256];
  const calls: { tokens: number[]; from: number | undefined }[] = [];
  const config = {
    layers: 1,
    kvHeads: 1,
    headDim: 1,
    vocabSize: VOCABULARY,
    contextLength,
    eosTokens: [256],
    bosTokens: [],
  };
  const caches: FullCache[] = [];
  const model: GeneratingModel = {
    config: config as unknown as ModelConfig,
    createCache(options) {
      const cache = fullCache({ layers: 1, kvHeads: 1, headDim: 1 }, options);
      caches.push(cache);
      return cache;
    },
    async forward(tokens, { cache, from, signal } = {}) {
      if (signal?.aborted) throw new Error('aborted inside');
      calls.push({ tokens: Array.from(tokens), from });
      const start = cache?.length(0, 0) ?? 0;
      const rows = tokens.length;
      cache?.append(
        0,
        new Float32Array(rows),
        new Float32Array(rows),
        Int32Array.from({ length: rows }, (_, i) => start + i),
      );
      const logits = new Float32Array(VOCABULARY);
      logits[script[Math.min(start + rows - 1, script.length - 1)]] = 5;
      return tensor(logits, [1, VOCABULARY]);
    },
  };
  return { model, calls, caches };
}

async function collect(model: GeneratingModel, prompt: ArrayLike<number>, options: GenerateOptions = {}) {
  const out: GeneratedToken[] = [];
  for await (const each of generate(model, prompt, { sampling: { temperature: 0 }, ...options })) out.push(each);
  return out;
}

const join = (tokens: readonly GeneratedToken[]) => tokens.map(({ text }) => text).join('');

describe('generate', () => {
  it('feeds the prompt once, then one token at a time, and ends at the end token', async () => {
    const { model, calls } = scriptedModel('xhello');
    const out = await collect(model, [9], { tokenizer, logProbabilities: true });
    expect(join(out)).toBe('xhello');
    expect(out.map(({ finishReason }) => finishReason)).toEqual([...new Array(6).fill(undefined), 'end']);
    expect(out.at(-1)?.token).toBe(256);
    expect(calls.map(({ tokens }) => tokens.length)).toEqual(new Array(7).fill(1));
    const expected = 5 - Math.log(Math.exp(5) + VOCABULARY - 1);
    for (const { logProbability } of out) expect(logProbability).toBeCloseTo(expected, 5);
  });

  it('stops at maxTokens and where the context ends', async () => {
    const { model } = scriptedModel('abcdefgh', 5);
    expect((await collect(model, [1, 2], { maxTokens: 2 })).map(({ finishReason }) => finishReason)).toEqual([
      undefined,
      'length',
    ]);
    const out = await collect(scriptedModel('abcdefgh', 5).model, [1, 2]);
    expect(out.map(({ finishReason }) => finishReason)).toEqual([undefined, undefined, 'context']);
    expect(await collect(model, [1, 2], { maxTokens: 0 })).toEqual([]);
  });

  it('continues a cache that holds tokens already', async () => {
    const { model } = scriptedModel('abcdef', 8);
    const cache = fullCache({ layers: 1, kvHeads: 1, headDim: 1 });
    const first = await collect(model, [1], { tokenizer, cache, maxTokens: 2 });
    expect(join(first)).toBe('ab');
    const second = await collect(model, [first[1].token], { tokenizer, cache });
    expect(join(second)).toBe('cdef');
  });

  it('reads a long prompt in chunks and asks for the last logits only', async () => {
    const { model, calls } = scriptedModel('', 3000);
    await collect(model, new Int32Array(1200), { maxTokens: 1 });
    expect(calls.map(({ tokens }) => tokens.length)).toEqual([512, 512, 176]);
    expect(calls.map(({ from }) => from)).toEqual([511, 511, 175]);
  });

  it('stops at stop tokens and stop texts, which the text leaves out', async () => {
    const { model } = scriptedModel('one two ### three');
    const out = await collect(model, [0], { tokenizer, stopTexts: ['###'] });
    expect(join(out)).toBe('one two ');
    expect(out.at(-1)?.finishReason).toBe('stop');
    const byToken = await collect(scriptedModel('one two').model, [0], { tokenizer, stopTokens: [32] });
    expect(join(byToken)).toBe('one');
    expect(byToken.at(-1)).toMatchObject({ token: 32, finishReason: 'stop' });
    const held = await collect(scriptedModel('ab#').model, [0], { tokenizer, stopTexts: ['##'] });
    expect(join(held)).toBe('ab#');
    expect(held.at(-1)?.finishReason).toBe('end');
  });

  it('gives text in whole characters, the unfinished one at the end', async () => {
    const out = await collect(scriptedModel('é🙂').model, [0], { tokenizer });
    expect(out.map(({ text }) => text)).toEqual(['', 'é', '', '', '', '🙂', '']);
    const cut = await collect(scriptedModel('é🙂').model, [0], { tokenizer, maxTokens: 3 });
    expect(join(cut)).toBe('é\uFFFD');
  });

  it('repeats itself with the same seed', async () => {
    const flat = {
      ...scriptedModel('').model,
      forward: async () => tensor(new Float32Array(VOCABULARY), [1, VOCABULARY]),
    };
    const draw = (seed: number) => collect(flat, [0], { sampling: {}, seed, maxTokens: 20, endTokens: [] });
    expect(await draw(3)).toEqual(await draw(3));
    expect(await draw(3)).not.toEqual(await draw(4));
  });

  it('leaves the cache whole when aborted', async () => {
    const { model } = scriptedModel('abcdef');
    const cache = fullCache({ layers: 1, kvHeads: 1, headDim: 1 });
    const controller = new AbortController();
    const run = async () => {
      for await (const _ of generate(model, [1, 2], { cache, signal: controller.signal, sampling: { temperature: 0 } }))
        controller.abort();
    };
    await expect(run()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(cache.length(0, 0)).toBe(2);
  });

  it('disposes of its own cache at the end, when left early, and when it fails', async () => {
    const { model, caches } = scriptedModel('abcdef');
    await collect(model, [1], { maxTokens: 3 });
    for await (const _ of generate(model, [1], { sampling: { temperature: 0 } })) break;
    await expect(collect(model, [])).rejects.toMatchObject({ code: 'RANGE' });
    expect(caches.map(({ allocatedByteLength }) => allocatedByteLength)).toEqual([0, 0, 0]);
  });

  it('gives log probabilities to those who ask', async () => {
    const [token] = await collect(scriptedModel('a').model, [0], { maxTokens: 1 });
    expect(token.logProbability).toBeUndefined();
  });

  it('names what is wrong with a request', async () => {
    const { model } = scriptedModel('abc', 4);
    const refused = (prompt: number[], options: GenerateOptions = {}) =>
      expect(collect(model, prompt, options)).rejects.toMatchObject({ code: 'RANGE' });
    await refused([]);
    await refused([1, 2, 3, 4]);
    await refused([1], { maxTokens: -1 });
    await refused([1], { stopTexts: ['x'] });
    await refused([1], { stopTexts: [''], tokenizer });
    await refused([1], { sampling: { topP: 2 } });
  });
});

describe('generateText', () => {
  it('gives text, tokens and reason', async () => {
    const { model } = scriptedModel('??hello');
    const result = await generateText(model, tokenizer, 'abc', { sampling: { temperature: 0 } });
    expect(result).toEqual({ text: 'hello', tokens: [...tokenizer.encode('hello'), 256], finishReason: 'end' });
  });
});

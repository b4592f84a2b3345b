import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHalftoneError } from '@halftone/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import {
  ggmlQuantize,
  ggufListing,
  llamaDescribe,
  llamaDetokenizeAll,
  llamaLogits,
  llamaLosses,
  llamaQuantize,
  llamaSpeed,
  llamaTokenize,
  llamaVocabulary,
  llamaWindowLogits,
  oracleAvailable,
} from '../src/index.js';
import { tinyGguf } from './tiny-gguf.js';

const MODEL = { embedding: 256, hidden: 512, layers: 2, vocabulary: 300 };
const folder = mkdtempSync(join(tmpdir(), 'llama-oracle-test-'));
const path = join(folder, 'tiny.gguf');
writeFileSync(path, tinyGguf(MODEL));
afterAll(() => rmSync(folder, { recursive: true }));

const tokens = [5, 17, 250, 99, 3, 280, 41, 7];
const title = oracleAvailable() ? 'libllama' : 'libllama (skipped: llama.cpp libraries not installed)';

async function errorOf(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isHalftoneError(error)) throw new Error('expected a HalftoneError', { cause: error });
  return error;
}

describe.skipIf(!oracleAvailable())(title, () => {
  it('lists and describes a file', async () => {
    const listing = await ggufListing(path);
    expect(listing).toMatchObject({ version: 3, alignment: 32 });
    expect(listing.tensors[0]).toEqual({
      name: 'token_embd.weight',
      type: 'f32',
      ne: [256, 300, 1, 1],
      offset: 0,
      byteLength: 300 * 256 * 4,
    });
    expect(listing.keys.find(({ key }) => key === 'llama.block_count')).toMatchObject({ type: 'u32', value: 2 });
    expect(listing.keys.find(({ key }) => key === 'tokenizer.ggml.merges')).toMatchObject({
      type: 'str[]',
      value: ['h e'],
    });
    expect(await llamaDescribe(path)).toMatchObject({
      layers: 2,
      embedding: 256,
      heads: 4,
      keyValueHeads: 2,
      vocabulary: 300,
    });
  });

  it('gives the same logits for a window alone, among others, and from a later position', async () => {
    const alone = await llamaLogits(path, tokens);
    expect(alone.length).toBe(tokens.length * MODEL.vocabulary);
    expect(alone.every(Number.isFinite)).toBe(true);
    const { vocabulary, windows } = await llamaWindowLogits(path, [[9, 9], tokens, tokens], { from: 3 });
    expect(vocabulary).toBe(MODEL.vocabulary);
    expect(windows[0].length).toBe(0);
    expect(windows[1]).toEqual(alone.subarray(3 * vocabulary));
    expect(windows[2]).toEqual(windows[1]);
  });

  it('gives losses that agree with the logits', async () => {
    const logits = await llamaLogits(path, tokens);
    const [losses, later] = await llamaLosses(path, [tokens, tokens]);
    expect(later).toEqual(losses);
    expect(losses.length).toBe(tokens.length - 1);
    losses.forEach((loss, i) => {
      const row = logits.subarray(i * MODEL.vocabulary, (i + 1) * MODEL.vocabulary);
      const logSum = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      expect(loss).toBeCloseTo(logSum - row[tokens[i + 1]], 6);
    });
    expect((await llamaLosses(path, [tokens], { from: 4 }))[0]).toEqual(losses.slice(3));
  });

  it('measures speed on one thread and on two, within the context that the model has', async () => {
    for (const threads of [1, 2]) {
      const speed = await llamaSpeed(path, { promptTokens: 16, decodeTokens: 4, threads, repeats: 1 });
      expect(speed.promptTokensPerSecond).toBeGreaterThan(0);
      expect(speed.decodeTokensPerSecond).toBeGreaterThan(0);
      expect(Object.values(speed).every(Number.isFinite)).toBe(true);
    }
    expect(await errorOf(llamaSpeed(join(folder, 'missing.gguf')))).toMatchObject({ code: 'FORMAT' });
  });

  it('tokenizes and back', async () => {
    const ids = await llamaTokenize(path, 'a b!');
    expect(ids).toEqual([...'a b!'].map((letter) => letter.charCodeAt(0)));
    expect(await llamaDetokenizeAll(path, [ids, []])).toEqual(['a b!', '']);
    expect(await llamaVocabulary(path)).toMatchObject({ size: 300, eos: 0 });
  });

  it('quantizes a file, with and without importances', async () => {
    const out = join(folder, 'q4_k.gguf');
    await llamaQuantize(path, out, 'Q4_K_M', { pure: true });
    const types = new Map((await ggufListing(out)).tensors.map(({ name, type }) => [name, type]));
    expect(types.get('blk.0.attn_q.weight')).toBe('q4_K');
    expect(types.get('output_norm.weight')).toBe('f32');
    const weighted = join(folder, 'q2_k.gguf');
    const names = [...types.keys()].filter((name) => name.startsWith('blk.') && !name.includes('norm'));
    const imatrix = new Map(
      names.map((name) => {
        const columns = name.includes('ffn_down') ? MODEL.hidden : MODEL.embedding;
        return [name, Float32Array.from({ length: columns }, (_, i) => 1 + (i % 5))];
      }),
    );
    await llamaQuantize(path, weighted, 'Q2_K', { imatrix });
    expect(statSync(weighted).size).toBeLessThan(statSync(out).size);
    const [exact] = await llamaLosses(path, [tokens]);
    const [close] = await llamaLosses(out, [tokens]);
    expect(close.length).toBe(exact.length);
    expect(close).not.toEqual(exact);
  });

  it('quantizes a tensor to the bytes of the block encoder with the same importances', async () => {
    const name = 'blk.1.ffn_down.weight';
    const importances = Float32Array.from({ length: MODEL.hidden }, (_, i) => 1 + (i % 5) * 20);
    const out = join(folder, 'q4_k_weighted.gguf');
    await llamaQuantize(path, out, 'Q4_K_S', { pure: true, imatrix: new Map([[name, importances]]) });
    const bytesOf = async (file: string): Promise<Uint8Array> => {
      const { dataOffset, tensors } = await ggufListing(file);
      const tensor = tensors.find((candidate) => candidate.name === name)!;
      const start = dataOffset + tensor.offset;
      return new Uint8Array(readFileSync(file).subarray(start, start + tensor.byteLength));
    };
    const values = new Float32Array((await bytesOf(path)).buffer);
    const actual = await bytesOf(out);
    expect(actual).toEqual(ggmlQuantize('Q4_K', values, MODEL.embedding, MODEL.hidden, importances));
    expect(actual).not.toEqual(ggmlQuantize('Q4_K', values, MODEL.embedding, MODEL.hidden));
  });

  it('reports refused files, crashes, bad tokens and lack of time as typed errors', async () => {
    expect(await errorOf(llamaDescribe(join(folder, 'missing.gguf')))).toMatchObject({ code: 'FORMAT' });
    const crashing = join(folder, 'crashing.gguf');
    writeFileSync(crashing, tinyGguf(MODEL, ['llama.attention.head_count']));
    expect(await errorOf(llamaDescribe(crashing))).toMatchObject({ code: 'FORMAT' });
    expect(await errorOf(llamaLogits(path, [300]))).toMatchObject({ code: 'FORMAT' });
    expect(await errorOf(llamaDescribe(path, { timeout: 1 }))).toMatchObject({ code: 'IO' });
    expect(await errorOf(llamaDescribe(path, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORTED' });
    const imatrix = new Map([['blk.0.attn_q.weight', new Float32Array(256)]]);
    expect(await errorOf(llamaQuantize(path, join(folder, 'x'), 'Q4_0', { imatrix }))).toMatchObject({ code: 'RANGE' });
  });
});

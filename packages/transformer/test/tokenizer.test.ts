import { readFileSync } from 'node:fs';
import { tokenizerFromLlama2c } from '@halftone/formats';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadTokenizer, type Tokenizer } from '../src/index.js';
import { byteTokenizerJson } from './byte-tokenizer.js';
import { hasShared, needsShared, shared } from './shared-models.js';

function streamed(tokenizer: Tokenizer, tokens: ArrayLike<number>): string {
  const stream = tokenizer.decodeStream();
  return Array.from(tokens, (token) => stream.push(token)).join('') + stream.end();
}

describe('loadTokenizer', () => {
  const tokenizer = loadTokenizer({
    tokenizerJson: byteTokenizerJson(),
    tokenizerConfig: { eos_token: { content: '<end>' } },
  });

  it('knows its size and special tokens', () => {
    expect(tokenizer.vocabularySize).toBe(257);
    expect(tokenizer.eos).toBe(256);
    expect(tokenizer.bos).toBeUndefined();
  });

  it('gives any text back, whole and streamed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const tokens = tokenizer.encode(text);
        expect(tokens).toHaveLength(new TextEncoder().encode(text).length);
        expect(tokenizer.decode(tokens)).toBe(text);
        expect(streamed(tokenizer, tokens)).toBe(text);
      }),
    );
  });

  it('streams no half characters', () => {
    const stream = tokenizer.decodeStream();
    const pieces = Array.from(tokenizer.encode('é🙂.'), (token) => stream.push(token));
    expect(pieces).toEqual(['', 'é', '', '', '', '🙂', '.']);
    expect(stream.push(tokenizer.encode('é')[0])).toBe('');
    expect(stream.end()).toBe('\uFFFD');
    expect(stream.push(tokenizer.encode('a')[0])).toBe('a');
  });

  it('handles special tokens as asked, and ids without a token', () => {
    expect([...tokenizer.encode('a<end>')]).toEqual([tokenizer.encode('a')[0], 256]);
    expect(tokenizer.decode([...tokenizer.encode('a'), 256])).toBe('a<end>');
    expect(tokenizer.decode([...tokenizer.encode('a'), 256], { skipSpecialTokens: true })).toBe('a');
    expect(tokenizer.decode([300])).toBe('');
    expect(tokenizer.decode([])).toBe('');
    expect(() => tokenizer.decode([-1])).toThrow(expect.objectContaining({ code: 'RANGE' }));
    expect(() => tokenizer.decode([1.5])).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('keeps spaces before punctuation, which the library would clean up', () => {
    expect(tokenizer.decode(tokenizer.encode("wait . do n't , go"))).toBe("wait . do n't , go");
  });

  it('refuses what is no tokenizer', () => {
    for (const tokenizerJson of [{}, { model: { type: 'no-such' } }, { model: null }]) {
      expect(() => loadTokenizer({ tokenizerJson })).toThrow(expect.objectContaining({ code: 'FORMAT' }));
    }
  });
});

describe.skipIf(!hasShared)(`real tokenizers${needsShared}`, () => {
  it('encodes the held-out books as the reference did', () => {
    const tokenizerJson = JSON.parse(readFileSync(shared('models/wren-5m/tokenizer.json'), 'utf8'));
    const text = readFileSync(shared('data/books-heldout.txt'), 'utf8');
    const tokenizer = loadTokenizer({ tokenizerJson });
    const tokens = tokenizer.encode(text);
    expect(tokens).toHaveLength(682_954);
    expect(tokenizer.decode(tokens)).toBe(text);
    expect(streamed(tokenizer, tokens.subarray(0, 3000))).toBe(tokenizer.decode(tokens.subarray(0, 3000)));
    expect(tokenizer.vocabularySize).toBe(8192);
  });

  it('streams SentencePiece tokens, byte tokens among them', () => {
    const tokenizer = loadTokenizer(
      tokenizerFromLlama2c(new Uint8Array(readFileSync(shared('models/stories260k/tok512.bin'))), 512),
    );
    const text = 'Once upon a time, é 日本 🙂 — the end.\n\nNext';
    const tokens = tokenizer.encode(text);
    expect(tokens[0]).toBe(tokenizer.bos);
    expect(streamed(tokenizer, tokens.subarray(1))).toBe(text);
    expect(tokenizer.decode(tokens, { skipSpecialTokens: true })).toBe(text);
    expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(tokens.subarray(1));
  });
});

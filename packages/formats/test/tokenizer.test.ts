import { readFileSync } from 'node:fs';
import { isHalftoneError } from '@halftone/tensor';
import { Tokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type TokenizerFiles, tokenizerFromGguf, tokenizerFromLlama2c, tokenizerToGguf } from '../src/index.js';
import { hasSharedModels, SHARED, sharedModel } from './support/shared.js';

type Json = Record<string, unknown>;

const load = ({ tokenizerJson, tokenizerConfig }: TokenizerFiles) => new Tokenizer(tokenizerJson, tokenizerConfig);

function throughGguf(tokenizerJson: Json, options: Parameters<typeof tokenizerToGguf>[1] = {}): TokenizerFiles {
  return tokenizerFromGguf(new Map(tokenizerToGguf(tokenizerJson, options).map(({ key, value }) => [key, value])));
}

function byteLevelJson(preTokenizer: object | null): Json {
  const vocab: Record<string, number> = { '<|end|>': 0 };
  for (const character of 'abcdefghijklmnopqrstuvwxyzĠ0123456789') vocab[character] = Object.keys(vocab).length;
  for (const text of ['ab', 'Ġa', 'abc']) vocab[text] = Object.keys(vocab).length;
  return {
    added_tokens: [
      { id: 0, content: '<|end|>', special: true },
      { id: Object.keys(vocab).length, content: '<think>', special: false },
    ],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: ['a b', 'Ġ a', 'ab c'] },
  };
}

const GPT2 = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (Regex: string) => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});

describe('byte-level BPE', () => {
  it.each([
    ['gpt-2', GPT2],
    ['dbrx', split(LLAMA3)],
    ['qwen2', split(LLAMA3.replace('{1,3}', ''))],
    ['smollm', { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, GPT2] }],
  ])('recognises %s and cuts text as before', (pre, preTokenizer) => {
    const json = byteLevelJson(preTokenizer);
    const entries = new Map(tokenizerToGguf(json).map(({ key, value }) => [key, value]));
    expect(entries.get('tokenizer.ggml.pre')).toBe(pre);
    const before = new Tokenizer(json, {});
    const after = load(throughGguf(json));
    const words = fc.array(fc.constantFrom('abc', ' ', 'a', '12345', '<|end|>', '<think>', "'", 's', 'xyz'));
    fc.assert(
      fc.property(words, (parts) => {
        const text = parts.join('');
        expect(after.encode(text).ids).toEqual(before.encode(text).ids);
      }),
    );
  });

  it('refuses a pattern it does not know, unless told its name', () => {
    const json = byteLevelJson(split('.'));
    expect(() => tokenizerToGguf(json)).toThrow(/pre_tokenizer/);
    expect(tokenizerToGguf(json, { pre: 'qwen2' }).find(({ key }) => key === 'tokenizer.ggml.pre')?.value).toBe(
      'qwen2',
    );
  });

  it('types tokens and pads to the size of the embedding', () => {
    const entries = new Map(
      tokenizerToGguf(byteLevelJson(GPT2), { vocabularySize: 50, eos: 0 }).map(({ key, value }) => [key, value]),
    );
    const tokens = entries.get('tokenizer.ggml.tokens') as string[];
    const types = entries.get('tokenizer.ggml.token_type') as Int32Array;
    expect(tokens).toHaveLength(50);
    expect([types[0], types[1], types[tokens.indexOf('<think>')], types[49]]).toEqual([3, 1, 4, 5]);
    expect(tokens[49]).toBe('[PAD49]');
    expect(entries.get('tokenizer.ggml.eos_token_id')).toBe(0);
    expect(entries.get('tokenizer.ggml.add_bos_token')).toBe(false);
    expect(() => tokenizerToGguf(byteLevelJson(GPT2), { vocabularySize: 10 })).toThrow(/vocabulary is 10/);
    expect(() => tokenizerToGguf(byteLevelJson(GPT2), { bos: 99 })).toThrow(/bos token id 99/);
  });

  it('carries the BOS of a template and the chat template', () => {
    const template = {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<|end|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<|end|>': { id: '<|end|>', ids: [0], tokens: ['<|end|>'] } },
    };
    const json = {
      ...byteLevelJson(GPT2),
      post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel' }, template] },
    };
    const files = throughGguf(json, { tokenizerConfig: { chat_template: [{ name: 'default', template: '{{ x }}' }] } });
    expect(files.tokenizerConfig).toMatchObject({
      add_bos_token: true,
      bos_token: '<|end|>',
      chat_template: '{{ x }}',
    });
    expect(load(files).encode('abc').ids).toEqual(new Tokenizer(json, {}).encode('abc').ids);
    expect(load(files).encode('abc').ids[0]).toBe(0);
    expect(load(files).encode('abc', { add_special_tokens: false }).ids[0]).not.toBe(0);
  });
});

it('takes a vocabulary of bytes alone, without merges', () => {
  const json = byteLevelJson(GPT2);
  const bare = { ...json, model: { ...(json.model as Json), merges: [] } };
  expect(load(throughGguf(bare)).encode('abc').ids).toEqual(new Tokenizer(bare, {}).encode('abc').ids);
});

describe('bad tokenizer metadata', () => {
  const good = () => new Map(tokenizerToGguf(byteLevelJson(GPT2), { eos: 0 }).map(({ key, value }) => [key, value]));
  it.each([
    ['tokenizer.ggml.model', 't5', 'UNSUPPORTED'],
    ['tokenizer.ggml.pre', 'no-such', 'UNSUPPORTED'],
    ['tokenizer.ggml.tokens', undefined, 'FORMAT'],
    ['tokenizer.ggml.tokens', [1, 2], 'FORMAT'],
    ['tokenizer.ggml.tokens', [], 'FORMAT'],
    ['tokenizer.ggml.merges', undefined, 'FORMAT'],
    ['tokenizer.ggml.merges', ['ab'], 'FORMAT'],
    ['tokenizer.ggml.token_type', Int32Array.of(1), 'FORMAT'],
    ['tokenizer.ggml.eos_token_id', 1000, 'FORMAT'],
  ])('%s = %s is refused', (key, value, code) => {
    const metadata = good();
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
    expect(() => tokenizerFromGguf(metadata)).toThrow(expect.objectContaining({ code }));
  });

  it('refuses models that are not BPE', () => {
    const json = byteLevelJson(GPT2);
    for (const model of [
      { type: 'Unigram', vocab: [] },
      { ...(json.model as Json), end_of_word_suffix: '</w>' },
    ]) {
      expect(() => tokenizerToGguf({ ...json, model })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
  });
});

describe('SentencePiece BPE', () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const texts = ['<unk>', '<s>', ...bytes, '▁', 'a', 'b', '▁a', 'ab', '▁ab', '<tool>'];
  const model = {
    type: 'BPE',
    byte_fallback: true,
    fuse_unk: true,
    unk_token: '<unk>',
    vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
    merges: [
      ['a', 'b'],
      ['▁', 'ab'],
      ['▁', 'a'],
    ],
  };
  const json: Json = {
    added_tokens: [
      { id: 0, content: '<unk>', special: true },
      { id: 1, content: '<s>', special: true },
      { id: texts.length - 1, content: '<tool>', special: false },
    ],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
    model,
  };
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false };
  const words = fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'é', '\n'), minLength: 1 });

  it('keeps ids, types and the order of merges', () => {
    const before = new Tokenizer(json, {});
    const entries = new Map(tokenizerToGguf(json).map(({ key, value }) => [key, value]));
    const types = entries.get('tokenizer.ggml.token_type') as Int32Array;
    expect([types[0], types[1], types[2], types[258], types[texts.length - 1]]).toEqual([2, 3, 6, 1, 4]);
    const after = load(tokenizerFromGguf(entries));
    fc.assert(
      fc.property(words, (text) => {
        expect(after.encode(text).ids).toEqual(before.encode(text).ids);
      }),
    );
  });

  it('understands Metaspace, with a prefix and without', () => {
    const first = { ...json, normalizer: null, pre_tokenizer: metaspace };
    expect(load(throughGguf(first)).encode('ab a').ids).toEqual(new Tokenizer(first, {}).encode('ab a').ids);
    const never = { ...json, normalizer: null, pre_tokenizer: { ...metaspace, prepend_scheme: 'never' } };
    expect(load(throughGguf(never)).encode('ab a').ids).toEqual(new Tokenizer(never, {}).encode('ab a').ids);
    expect(load(throughGguf(never)).encode('ab').tokens).toEqual(['ab']);
  });

  it('refuses other ways of writing spaces', () => {
    for (const normalizer of [null, { type: 'NFKC' }]) {
      expect(() => tokenizerToGguf({ ...json, normalizer })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
  });

  it('answers any damage with a HalftoneError', () => {
    const keys = fc.constantFrom('added_tokens', 'normalizer', 'pre_tokenizer', 'post_processor', 'decoder', 'model');
    const parts = fc.constantFrom('type', 'vocab', 'merges', 'normalizers', 'single', 'special_tokens');
    fc.assert(
      fc.property(keys, fc.option(parts), fc.jsonValue(), (key, part, value) => {
        const damaged = { ...json, [key]: part === null ? value : { ...(json[key] as Json), [part]: value } };
        try {
          tokenizerToGguf(damaged);
        } catch (error) {
          expect(isHalftoneError(error), String(error)).toBe(true);
        }
      }),
    );
  });
});

describe.skipIf(!hasSharedModels)('real tokenizers (skipped where HALFTONE_SHARED has none)', () => {
  const books = () => readFileSync(`${SHARED}/data/books-heldout.txt`, 'utf8').slice(100_000, 120_000);
  const stories = () => readFileSync(`${SHARED}/data/tinystories-sample.txt`, 'utf8').slice(0, 60_000);
  const odd = " two  spaces\n\n\tTab 1234 naïve — “quotes” 日本語 🙂 don't <|endoftext|> end ";

  it('gives the same ids through GGUF for the books tokenizer', () => {
    const json = JSON.parse(readFileSync(sharedModel('wren-5m', 'tokenizer.json'), 'utf8')) as Json;
    const before = new Tokenizer(json, {});
    const after = load(throughGguf(json, { vocabularySize: 8192, bos: 0, eos: 0 }));
    for (const text of [books(), odd]) {
      const ids = after.encode(text).ids;
      expect(ids).toEqual(before.encode(text).ids);
      expect(after.decode(ids, { clean_up_tokenization_spaces: false })).toBe(text);
    }
  });

  it('encodes as llama2.c does, from its file and through GGUF', () => {
    const bytes = new Uint8Array(readFileSync(sharedModel('stories260k', 'tok512.bin')));
    const files = tokenizerFromLlama2c(bytes, 512);
    const direct = load(files);
    const rebuilt = throughGguf(files.tokenizerJson as Json, {
      tokenizerConfig: files.tokenizerConfig,
      vocabularySize: 512,
    });
    for (const text of [
      stories().slice(0, 6000),
      stories().slice(31_000, 37_000),
      odd.replace('<|endoftext|>', ''),
      'a',
    ]) {
      const expected = llama2cEncode(bytes, text);
      expect(direct.encode(text).ids).toEqual(expected);
      expect(load(rebuilt).encode(text).ids).toEqual(expected);
      const decoded = direct.decode(expected, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
      expect(decoded).toBe(text);
    }
  });

  it('refuses a llama2.c file of another size', () => {
    const bytes = new Uint8Array(readFileSync(sharedModel('stories260k', 'tok512.bin')));
    expect(() => tokenizerFromLlama2c(bytes, 513)).toThrow(/token 512 of 513 .* offset 6227/);
    expect(() => tokenizerFromLlama2c(bytes, 511)).toThrow(/goes on/);
    expect(() => tokenizerFromLlama2c(bytes.subarray(0, 100), 512)).toThrow(/offset/);
  });
});

/** The loop of run.c, written from its description: code points, byte fallback, then the best-scored pair, again and again. */
function llama2cEncode(bytes: Uint8Array, text: string): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const ids = new Map<string, number>();
  const scores: number[] = [];
  const texts: string[] = [];
  for (let offset = 4; offset < bytes.length; ) {
    const length = view.getInt32(offset + 4, true);
    const piece = new TextDecoder().decode(bytes.subarray(offset + 8, offset + 8 + length));
    ids.set(piece, texts.length);
    scores.push(view.getFloat32(offset, true));
    texts.push(piece);
    offset += 8 + length;
  }
  const tokens = [ids.get(' ') as number];
  for (const character of text) {
    const id = ids.get(character);
    if (id === undefined) for (const byte of new TextEncoder().encode(character)) tokens.push(byte + 3);
    else tokens.push(id);
  }
  for (;;) {
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    let bestId = -1;
    for (let i = 0; i + 1 < tokens.length; i++) {
      const id = ids.get((texts[tokens[i] as number] as string) + texts[tokens[i + 1] as number]);
      if (id !== undefined && (scores[id] as number) > bestScore) {
        best = i;
        bestScore = scores[id] as number;
        bestId = id;
      }
    }
    if (best < 0) return [1, ...tokens];
    tokens.splice(best, 2, bestId);
  }
}

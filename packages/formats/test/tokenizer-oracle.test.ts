import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { llamaTokenizeAll, llamaVocabulary, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type GgufMetadataEntry,
  memorySink,
  type TokenizerFiles,
  tokenizerFromGguf,
  tokenizerFromLlama2c,
  tokenizerToGguf,
  writeGguf,
} from '../src/index.js';
import { hasSharedModels, SHARED, sharedModel } from './support/shared.js';
import {
  byteLevelTokenizer,
  GEMMA_SPACES,
  HOSTILE_TEXTS,
  type Json,
  sentencePieceTokenizer,
  wordPieceTokenizer,
} from './support/tokenizers.js';

const load = ({ tokenizerJson, tokenizerConfig }: TokenizerFiles) => new Tokenizer(tokenizerJson, tokenizerConfig);
const split = (...patterns: string[]) => ({
  type: 'Sequence',
  pretokenizers: [
    ...patterns.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })),
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});
const GPT2 = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const LLAMA3 = QWEN2.replace('\\p{N}| ', '\\p{N}{1,3}| ');
const [UP, LOW] = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'];
const END = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const O200K = `[^\\r\\n\\p{L}\\p{N}]?${UP}*${LOW}+${END}|[^\\r\\n\\p{L}\\p{N}]?${UP}+${LOW}*${END}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const QWEN35 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const TEKKEN = O200K.replaceAll(END, '').replace('{1,3}', '');
const DEEPSEEK_V3 =
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+';
const DEEPSEEK_CODER = {
  type: 'Sequence',
  pretokenizers: [
    ...['[\r\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+'].map((Regex) => ({
      type: 'Split',
      pattern: { Regex },
      behavior: 'Isolated',
    })),
    { type: 'Digits', individual_digits: true },
    { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  ],
};

/** JavaScript's white space differs from Unicode's in these, and its `\\d` knows no digits but ASCII's. */
const JS_SPACE = /[\ufeff\u0085]/gu;
const OTHER_DIGITS = /(?![0-9])\p{N}/gu;
/** llama.cpp's pattern for deepseek-coder knows no white space but ASCII's. */
const WIDE_SPACE = /(?! )\p{Zs}/gu;
/** llama.cpp's patterns for these two have no combining marks and know upper from lower case in ASCII alone. */
const OTHER_CASE = /\p{M}|(?![a-z])\p{Ll}|(?![A-Z])\p{Lu}|\p{Lt}/gu;

describe.skipIf(!oracleAvailable())('tokens of llama.cpp (skipped where its libraries are absent)', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'halftone-tokenizer-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function vocabularyFile(entries: readonly GgufMetadataEntry[], name: string): Promise<string> {
    const path = join(folder, `${name.replace(/\W/g, '-')}.gguf`);
    const sink = memorySink();
    const key = (suffix: string, value: number) => ({ key: `llama.${suffix}`, type: 'u32', value }) as const;
    const metadata: GgufMetadataEntry[] = [
      { key: 'general.architecture', type: 'string', value: 'llama' },
      key('context_length', 64),
      key('embedding_length', 8),
      key('block_count', 1),
      key('feed_forward_length', 8),
      key('attention.head_count', 1),
      { key: 'llama.attention.layer_norm_rms_epsilon', type: 'f32', value: 1e-5 },
      ...entries,
    ];
    await writeGguf(sink, [], { metadata, data: () => new Uint8Array(0) });
    await writeFile(path, sink.bytes());
    return path;
  }

  /** The ids of tokenizer.json, of llama.cpp, and of the tokenizer.json that comes back are the same. */
  async function expectAgreement(
    name: string,
    json: Json,
    options: Parameters<typeof tokenizerToGguf>[1] = {},
    texts = HOSTILE_TEXTS,
  ) {
    const entries = tokenizerToGguf(json, options);
    const path = await vocabularyFile(entries, name);
    const before = new Tokenizer(json, {});
    const after = load(tokenizerFromGguf(new Map(entries.map(({ key, value }) => [key, value]))));
    const theirs = await llamaTokenizeAll(path, texts, { addSpecial: true, parseSpecial: true });
    texts.forEach((text, i) => {
      const expected = before.encode(text).ids;
      expect(theirs[i], `${name}, llama.cpp: ${JSON.stringify(text)}`).toEqual(expected);
      expect(after.encode(text).ids, `${name}, back: ${JSON.stringify(text)}`).toEqual(expected);
    });
    return new Map(entries.map(({ key, value }) => [key, value]));
  }

  it.each<[pre: string, preTokenizer: object, model: Json, without?: RegExp]>([
    ['gpt-2', GPT2, {}, JS_SPACE],
    [
      'smollm',
      { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, GPT2] },
      {},
      new RegExp(`${JS_SPACE.source}|${OTHER_DIGITS.source}`, 'gu'),
    ],
    ['llama-bpe', split(LLAMA3), { ignore_merges: true }],
    ['dbrx', split(LLAMA3), {}],
    ['qwen2', split(QWEN2), {}],
    ['qwen35', split(QWEN35), {}],
    ['tekken', split(TEKKEN), { ignore_merges: true }, OTHER_CASE],
    ['gpt-4o', split(O200K), {}, OTHER_CASE],
    ['deepseek-coder', DEEPSEEK_CODER, {}, new RegExp(`${WIDE_SPACE.source}|${OTHER_DIGITS.source}`, 'gu')],
    ['deepseek-v3', split('\\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+', DEEPSEEK_V3), {}],
  ])('are those of tokenizer.json that cuts like %s', async (pre, preTokenizer, model, without) => {
    const texts = HOSTILE_TEXTS.map((text) => (without ? text.replace(without, '') : text));
    const keys = await expectAgreement(pre, byteLevelTokenizer(preTokenizer, model), {}, texts);
    expect(keys.get('tokenizer.ggml.pre')).toBe(pre);
  });

  it.each([
    ['llama', {}],
    ['gemma', GEMMA_SPACES],
  ])('are those of SentencePiece-like BPE as %s has it', async (name, spaces) => {
    await expectAgreement(name, sentencePieceTokenizer(spaces));
  });

  it.each([
    ['lower case', {}],
    ['case kept', { lowercase: false }],
    ['case kept, accents stripped', { lowercase: false, strip_accents: true }],
    ['lower case, accents kept', { strip_accents: false }],
  ])('are those of WordPiece with %s', async (name, normalizer) => {
    // The control characters that Unicode also calls white space: tokenizer.json drops them, llama.cpp cuts at them.
    const texts = HOSTILE_TEXTS.map((text) => text.replaceAll('\u0085', ''));
    await expectAgreement(name, wordPieceTokenizer(normalizer), {}, texts);
  });

  it('stand between the BOS and EOS of a template', async () => {
    const json = byteLevelTokenizer(GPT2);
    const end = Object.keys((json.model as { vocab: object }).vocab).length;
    const piece = { SpecialToken: { id: '<|end|>', type_id: 0 } };
    const text = { Sequence: { id: 'A', type_id: 0 } };
    const special_tokens = { '<|end|>': { id: '<|end|>', ids: [end], tokens: ['<|end|>'] } };
    for (const single of [
      [piece, text],
      [text, piece],
    ]) {
      const post_processor = { type: 'TemplateProcessing', single, pair: [], special_tokens };
      const keys = await expectAgreement('template', { ...json, post_processor }, {}, ['the', '']);
      expect(keys.get('tokenizer.ggml.add_bos_token')).toBe(single[0] === piece);
      expect(keys.get('tokenizer.ggml.add_eos_token')).toBe(single.at(-1) === piece);
    }
    const roberta = { type: 'RobertaProcessing', cls: ['<|end|>', end], sep: ['<|end|>', end] };
    await expectAgreement('roberta', { ...json, post_processor: roberta }, {}, ['the thing']);
  });

  it('follow the last rank of a merge that is listed twice', async () => {
    const json = byteLevelTokenizer(GPT2);
    const model = json.model as { merges: unknown[] };
    const merges = [...model.merges, model.merges[0]];
    await expectAgreement('twice', { ...json, model: { ...model, merges } }, {}, ['the thing', ' the', 'th']);
  });

  it('come with the special ids and sizes that llama.cpp reads back', async () => {
    const json = sentencePieceTokenizer();
    const size = 400;
    const tokenizerConfig = {
      bos_token: '<s>',
      eos_token: { content: '</s>' },
      unk_token: '<unk>',
      add_bos_token: true,
    };
    const path = await vocabularyFile(tokenizerToGguf(json, { tokenizerConfig, vocabularySize: size }), 'ids');
    const vocabulary = await llamaVocabulary(path);
    expect(vocabulary).toMatchObject({ size, bos: 1, eos: 2, addBos: true, addEos: false });
    expect(vocabulary.tokens.slice(0, 4)).toEqual(['<unk>', '<s>', '</s>', '<0x00>']);
    const bert = await llamaVocabulary(await vocabularyFile(tokenizerToGguf(wordPieceTokenizer()), 'bert'));
    expect(bert).toMatchObject({ bos: 2, addBos: true, addEos: false });
    expect(bert.tokens).toContain('▁the');
    expect(bert.tokens).toContain('aff');
  });

  describe.skipIf(!hasSharedModels)('real tokenizers (skipped where HALFTONE_SHARED has none)', () => {
    const texts = () => [
      ...HOSTILE_TEXTS.map((text) => text.replace(JS_SPACE, '')),
      readFileSync(`${SHARED}/data/books-heldout.txt`, 'utf8').slice(50_000, 80_000),
      readFileSync(`${SHARED}/data/wikitext-2/test.txt`, 'utf8').slice(0, 20_000),
    ];

    it('of the books', async () => {
      const json = JSON.parse(readFileSync(sharedModel('bookworm-29m', 'tokenizer.json'), 'utf8')) as Json;
      await expectAgreement('books', json, { vocabularySize: 8192 }, texts());
    });

    it('of stories260k', async () => {
      const files = tokenizerFromLlama2c(new Uint8Array(readFileSync(sharedModel('stories260k', 'tok512.bin'))), 512);
      const { tokenizerJson, tokenizerConfig } = files;
      await expectAgreement('stories', tokenizerJson as Json, { tokenizerConfig, vocabularySize: 512 }, texts());
    });
  });
});

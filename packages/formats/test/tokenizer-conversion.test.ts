import { isHalftoneError, type MetadataValue } from '@halftone/tensor';
import { Tokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenizerFromGguf, tokenizerToGguf } from '../src/index.js';
import { expectFailure } from './support/files.js';
import {
  BYTE_CHARACTERS,
  byteLevelTokenizer,
  GEMMA_SPACES,
  HOSTILE_TEXTS,
  type Json,
  sentencePieceTokenizer,
  wordPieceTokenizer,
} from './support/tokenizers.js';

type Options = Parameters<typeof tokenizerToGguf>[1];

const GPT2 = { type: 'ByteLevel', add_prefix_space: false, use_regex: true };
const LLAMA3 = {
  type: 'Sequence',
  pretokenizers: [
    {
      type: 'Split',
      pattern: {
        Regex:
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
      },
      behavior: 'Isolated',
      invert: false,
    },
    { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  ],
};
const metadataOf = (json: Json, options?: Options) =>
  new Map<string, MetadataValue>(tokenizerToGguf(json, options).map(({ key, value }) => [key, value]));
const withModel = (json: Json, model: Json): Json => ({ ...json, model: { ...(json.model as Json), ...model } });
const FAMILIES: Readonly<Record<string, Json>> = {
  'byte-level': byteLevelTokenizer(GPT2),
  SentencePiece: sentencePieceTokenizer(),
  Gemma: sentencePieceTokenizer(GEMMA_SPACES),
  WordPiece: wordPieceTokenizer(),
};

describe('chat templates', () => {
  const json = byteLevelTokenizer(GPT2);
  const templates = [
    { name: 'tool_use', template: 'T' },
    { name: 'default', template: 'D' },
    { name: 'rag', template: 'R' },
  ];

  it('keep their names', () => {
    const metadata = metadataOf(json, { tokenizerConfig: { chat_template: templates } });
    expect(metadata.get('tokenizer.chat_template')).toBe('D');
    expect(metadata.get('tokenizer.chat_template.tool_use')).toBe('T');
    expect(metadata.get('tokenizer.chat_templates')).toEqual(['tool_use', 'rag']);
    const back = tokenizerFromGguf(metadata).tokenizerConfig.chat_template as typeof templates;
    expect(back.sort((a, b) => a.name.localeCompare(b.name))).toEqual(
      [...templates].sort((a, b) => a.name.localeCompare(b.name)),
    );
  });

  it('may be one text or lack a default', () => {
    const one = metadataOf(json, { tokenizerConfig: { chat_template: '{{ x }}' } });
    expect(tokenizerFromGguf(one).tokenizerConfig.chat_template).toBe('{{ x }}');
    const named = metadataOf(json, { tokenizerConfig: { chat_template: templates.slice(0, 1) } });
    expect(named.has('tokenizer.chat_template')).toBe(false);
    expect(tokenizerFromGguf(named).tokenizerConfig.chat_template).toEqual(templates.slice(0, 1));
    expect(metadataOf(json).has('tokenizer.chat_template')).toBe(false);
  });

  it.each([
    [{ name: 'a b', template: '' }],
    [{ name: 'default' }],
    [null],
    [5],
    [templates[0], templates[0]],
    [{ name: '', template: 'x' }],
  ])('%o is refused', async (...list) => {
    await expectFailure(
      () => metadataOf(json, { tokenizerConfig: { chat_template: list } }),
      'FORMAT',
      'chat_template',
    );
  });
});

describe('special tokens', () => {
  it('have GGUF ids by all their names, and come back', () => {
    const tokenizerConfig = {
      bos_token: '<s>',
      eos_token: { content: '</s>', lstrip: false },
      unk_token: '<unk>',
      pad_token: '<unk>',
      sep_token: '</s>',
      cls_token: '<s>',
      mask_token: '<tool>',
    };
    const json = sentencePieceTokenizer();
    const metadata = metadataOf(json, { tokenizerConfig });
    const ids = ['bos', 'eos', 'unknown', 'padding', 'seperator', 'cls', 'mask'].map((name) =>
      metadata.get(`tokenizer.ggml.${name}_token_id`),
    );
    const tool = (json.added_tokens as { id: number }[]).at(-1)?.id;
    expect(ids).toEqual([1, 2, 0, 0, 2, 1, tool]);
    expect(tokenizerFromGguf(metadata).tokenizerConfig).toMatchObject({ ...tokenizerConfig, eos_token: '</s>' });
  });

  it("are BERT's", () => {
    const tokenizerConfig = { cls_token: '[CLS]', sep_token: '[SEP]', pad_token: '[PAD]', mask_token: '[MASK]' };
    const metadata = metadataOf(wordPieceTokenizer(), { tokenizerConfig });
    expect(metadata.get('tokenizer.ggml.bos_token_id')).toBe(2);
    expect(metadata.get('tokenizer.ggml.seperator_token_id')).toBe(3);
    expect(metadata.get('tokenizer.ggml.unknown_token_id')).toBe(1);
    expect(tokenizerFromGguf(metadata).tokenizerConfig).toMatchObject({ ...tokenizerConfig, unk_token: '[UNK]' });
    metadata.delete('tokenizer.ggml.bos_token_id');
    const { tokenizerJson, tokenizerConfig: config } = tokenizerFromGguf(metadata);
    expect(new Tokenizer(tokenizerJson, config).encode('the').tokens).toEqual(['[CLS]', 'the', '[SEP]']);
  });

  it('around a text must be those that GGUF can add', async () => {
    const json = sentencePieceTokenizer();
    const special_tokens = Object.fromEntries(
      ['<unk>', '<s>', '</s>'].map((id, index) => [id, { id, ids: [index], tokens: [id] }]),
    );
    const piece = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
    const around = (...single: object[]) => ({ type: 'TemplateProcessing', single, pair: [], special_tokens });
    const text = { Sequence: { id: 'A', type_id: 0 } };
    const two = { ...json, post_processor: around(piece('<s>'), piece('<unk>'), text) };
    await expectFailure(() => tokenizerToGguf(two), 'UNSUPPORTED', '2 tokens before');
    const bos = { ...json, post_processor: around(piece('<s>'), text) };
    expect(metadataOf(bos, { tokenizerConfig: { bos_token: '<s>' }, bos: 2 }).get('tokenizer.ggml.bos_token_id')).toBe(
      1,
    );
    await expectFailure(() => tokenizerToGguf(bos, { bos: 2 }), 'UNSUPPORTED', 'bos_token');
    const eos = { ...json, post_processor: around(text, piece('</s>')) };
    expect(metadataOf(eos).get('tokenizer.ggml.eos_token_id')).toBe(2);
    await expectFailure(() => tokenizerToGguf(eos, { tokenizerConfig: { eos_token: '<s>' } }), 'UNSUPPORTED', 'EOS');
  });
});

describe('byte-level BPE', () => {
  const merges = [
    ['t', 'h'],
    ['th', 'e'],
  ];
  const texts = [...BYTE_CHARACTERS, 'th', 'the'];
  const vocab = Object.fromEntries(texts.map((text, id) => [text, id]));
  const json = { ...byteLevelTokenizer(LLAMA3, { ignore_merges: true, vocab, merges }), added_tokens: [] };
  const whole = withModel(json, { vocab: { ...vocab, wxyz: texts.length } });

  it('is named by its cuts and by what goes before merges', () => {
    expect(metadataOf(json).get('tokenizer.ggml.pre')).toBe('llama-bpe');
    expect(metadataOf(whole).get('tokenizer.ggml.pre')).toBe('llama-bpe');
    expect(metadataOf(withModel(whole, { ignore_merges: false })).get('tokenizer.ggml.pre')).toBe('dbrx');
    expect(metadataOf(withModel({ ...json, pre_tokenizer: GPT2 }, {})).get('tokenizer.ggml.pre')).toBe('gpt-2');
  });

  it('is refused where llama.cpp would merge what tokenizer.json takes whole', async () => {
    const gpt2 = { ...whole, pre_tokenizer: GPT2 };
    await expectFailure(() => tokenizerToGguf(gpt2), 'UNSUPPORTED', 'wxyz');
    expect(metadataOf(withModel(gpt2, { ignore_merges: false })).get('tokenizer.ggml.pre')).toBe('gpt-2');
    const long = withModel(gpt2, { vocab: { ...vocab, ['x'.repeat(5000)]: texts.length } });
    await expectFailure(() => tokenizerToGguf(long), 'UNSUPPORTED');
  });

  it('takes the NFC normalizer alone', async () => {
    expect(metadataOf({ ...json, normalizer: { type: 'NFC' } }).size).toBe(metadataOf(json).size);
    for (const normalizer of [{ type: 'Lowercase' }, { type: 'Sequence', normalizers: [{ type: 'NFKC' }] }]) {
      await expectFailure(() => tokenizerToGguf({ ...json, normalizer }), 'UNSUPPORTED', 'normalizer');
    }
    const prefixed = { ...json, pre_tokenizer: { ...GPT2, add_prefix_space: true } };
    await expectFailure(() => tokenizerToGguf(prefixed), 'UNSUPPORTED', 'pre_tokenizer');
  });
});

describe('SentencePiece-like BPE', () => {
  const json = sentencePieceTokenizer();
  const { vocab, merges } = json.model as { vocab: Record<string, number>; merges: [string, string][] };
  const size = (json.added_tokens as { id: number }[]).at(-1)?.id as number;

  it('is refused without all bytes', async () => {
    const { '<0x7F>': _, ...others } = vocab;
    await expectFailure(() => tokenizerToGguf(withModel(json, { vocab: others })), 'UNSUPPORTED', '<0x7F>');
  });

  it('is refused where llama.cpp would merge more', async () => {
    const more = withModel(json, { vocab: { ...vocab, 'the▁a': size + 1 } });
    await expectFailure(() => tokenizerToGguf(more), 'UNSUPPORTED', 'the▁a');
    const fewer = withModel(json, { merges: merges.filter(([left, right]) => left + right !== 'ing') });
    await expectFailure(() => tokenizerToGguf(fewer), 'UNSUPPORTED', 'ing');
  });

  it('is refused with a Metaspace that keeps spaces apart', async () => {
    const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' };
    const spaces = (split: boolean) => ({ ...json, normalizer: null, pre_tokenizer: { ...metaspace, split } });
    expect(metadataOf(spaces(false)).get('tokenizer.ggml.add_space_prefix')).toBe(true);
    await expectFailure(() => tokenizerToGguf(spaces(true)), 'UNSUPPORTED', '▁▁');
    const other = { ...json, normalizer: null, pre_tokenizer: { ...metaspace, replacement: '_' } };
    await expectFailure(() => tokenizerToGguf(other), 'UNSUPPORTED', 'Metaspace');
  });

  it('gives llama and gemma their prefixes', () => {
    expect(metadataOf(json).get('tokenizer.ggml.add_space_prefix')).toBe(true);
    expect(metadataOf(sentencePieceTokenizer(GEMMA_SPACES)).get('tokenizer.ggml.add_space_prefix')).toBe(false);
  });
});

describe('WordPiece', () => {
  const json = wordPieceTokenizer();

  it.each<[string, Json]>([
    ['normalizer', { normalizer: { type: 'BertNormalizer', clean_text: false } }],
    ['normalizer', { normalizer: null }],
    ['pre-tokenizer', { pre_tokenizer: { type: 'Whitespace' } }],
    ['post-processor', { post_processor: null }],
    ['continuing prefix', withModel(json, { continuing_subword_prefix: '@@' })],
  ])('is refused for another %s', async (problem, differences) => {
    await expectFailure(() => tokenizerToGguf({ ...json, ...differences }), 'UNSUPPORTED', problem);
  });

  it('is refused where two tokens would have one text', async () => {
    const vocab = { ...((json.model as Json).vocab as object), '##▁the': 100 };
    await expectFailure(() => tokenizerToGguf(withModel(json, { vocab })), 'FORMAT', '▁the');
  });

  it('keeps BertProcessing, which says the same as the template', () => {
    const bert = { ...json, post_processor: { type: 'BertProcessing', cls: ['[CLS]', 2], sep: ['[SEP]', 3] } };
    expect(metadataOf(bert)).toEqual(metadataOf(json));
  });
});

it('Unigram is refused with the reason', async () => {
  const json = { ...sentencePieceTokenizer(), model: { type: 'Unigram', unk_id: 0, vocab: [['a', -1]] } };
  await expectFailure(() => tokenizerToGguf(json), 'UNSUPPORTED', 'Unigram');
});

describe('ids', () => {
  const json = byteLevelTokenizer(GPT2);
  const vocab = (json.model as Json).vocab as Record<string, number>;

  it('may have holes, which become tokens of their own', () => {
    const metadata = metadataOf(withModel(json, { vocab: { ...vocab, '[PAD900]': 899, last: 901 } }));
    const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
    expect([tokens[898], tokens[899], tokens[900], tokens[901]]).toEqual(['[PAD898]', '[PAD900]', '[PAD900]_', 'last']);
    expect(new Set(tokens).size).toBe(tokens.length);
  });

  it.each([2 ** 31, 2 ** 53, -1, 1.5, '7', null, {}])('%o is not one', async (id) => {
    await expectFailure(() => tokenizerToGguf(withModel(json, { vocab: { ...vocab, last: id } })), 'FORMAT', 'last');
  });

  it('stand for one text each', async () => {
    const twice = { ...json, added_tokens: [{ id: 1000, content: 'a', special: true }] };
    await expectFailure(() => tokenizerToGguf(twice), 'FORMAT', '"a"');
  });
});

describe('damage', () => {
  const values = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom<unknown>(2 ** 40, -1, '__proto__', [[]], [null], [1, 2], { __proto__: null }, { ids: 5 }),
  );

  it.each(Object.keys(FAMILIES))('of a %s tokenizer.json gives a HalftoneError', (family) => {
    const json = FAMILIES[family] as Json;
    const parts = ['type', 'vocab', 'merges', 'normalizers', 'pretokenizers', 'single', 'special_tokens', 'unk_token'];
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(json)),
        fc.option(fc.constantFrom(...parts)),
        values,
        (key, part, value) => {
          expectTyped(() =>
            tokenizerToGguf({ ...json, [key]: part === null ? value : { ...(json[key] as Json), [part]: value } }),
          );
          expectTyped(() =>
            tokenizerToGguf(json, { tokenizerConfig: { [key]: value, chat_template: value, eos_token: value } }),
          );
        },
      ),
    );
  });

  it.each(Object.keys(FAMILIES))('of the metadata of a %s tokenizer gives a HalftoneError', (family) => {
    const metadata = metadataOf(FAMILIES[family] as Json, { bos: 1, eos: 1 });
    const damaged = fc.constantFrom<MetadataValue | undefined>(
      undefined,
      '',
      'bert',
      true,
      -1,
      2 ** 40,
      Number.NaN,
      10n,
      [],
      ['a'],
      [1],
      Float32Array.of(1),
      ['a'.repeat(3000)],
    );
    fc.assert(
      fc.property(fc.constantFrom(...metadata.keys()), damaged, (key, value) => {
        const changed = new Map(metadata);
        if (value === undefined) changed.delete(key);
        else changed.set(key, value);
        expectTyped(() => tokenizerFromGguf(changed));
      }),
      { numRuns: 300 },
    );
  });

  it('does not take long for long tokens', async () => {
    const metadata = metadataOf(sentencePieceTokenizer());
    const tokens = [...(metadata.get('tokenizer.ggml.tokens') as string[])];
    tokens[300] = 'x'.repeat(1_000_000);
    metadata.set('tokenizer.ggml.tokens', tokens);
    await expectFailure(() => tokenizerFromGguf(metadata), 'UNSUPPORTED', '1000000');
  });
});

it.each(Object.keys(FAMILIES))('%s comes back with equal ids', (family) => {
  const json = FAMILIES[family] as Json;
  const { tokenizerJson, tokenizerConfig } = tokenizerFromGguf(metadataOf(json));
  const [before, after] = [new Tokenizer(json, {}), new Tokenizer(tokenizerJson, tokenizerConfig)];
  const again = metadataOf(tokenizerJson as Json);
  expect(again.get('tokenizer.ggml.tokens')).toEqual(metadataOf(json).get('tokenizer.ggml.tokens'));
  // JavaScript's white space, which the first form uses, differs from Unicode's in two characters.
  for (const text of HOSTILE_TEXTS.map((each) => each.replace(/[\ufeff\u0085]/gu, ''))) {
    expect(after.encode(text).ids, text).toEqual(before.encode(text).ids);
  }
});

function expectTyped(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    expect(isHalftoneError(error), String(error)).toBe(true);
  }
}

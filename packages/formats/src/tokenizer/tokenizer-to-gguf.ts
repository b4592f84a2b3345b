import { HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { refuseMalformedJson } from '../internal/malformed-json.js';
import { detectPreTokenizer } from './pre-tokenizers.js';
import { TOKEN_TYPE } from './sentencepiece-json.js';

type Json = Readonly<Record<string, unknown>>;
import { type BpeModel, readBpeModel } from './bpe-model.js';
import { byteLevelEntries } from './byte-level-to-gguf.js';
import { chatTemplateEntries } from './chat-templates.js';
import { type SurroundingTokens, surroundingTokens } from './post-processor.js';
import { sentencePieceEntries, sentencePieceTypes } from './sentencepiece-to-gguf.js';
import { type AddedToken, type Json, type TokenList, tokenList } from './token-list.js';
import { wordPieceEntries, wordPieceTokens } from './word-piece.js';

const MOST_HOLES = 1024;

export interface TokenizerToGgufOptions {
  /** `tokenizer_config.json`. */
  readonly tokenizerConfig?: Json;
  /** Rows of the embedding. Ids without a token become unused `[PADn]` tokens. Default: the tokens there are. */
  readonly vocabularySize?: number;
  /** Special ids from the model's configuration, for what `tokenizerConfig` does not name. */
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  /** `tokenizer.ggml.pre` of a byte-level tokenizer; default: found from the pre-tokenizer's patterns. */
  readonly pre?: string;
}

/**
 * GGUF metadata (`tokenizer.*`) of a `tokenizer.json`, so that llama.cpp cuts text into the same tokens: byte-level BPE
 * (`gpt2`), SentencePiece-like BPE with byte fallback (`llama`) and WordPiece (`bert`). `lstrip`, `rstrip` and `single_word`
 * of added tokens have no GGUF form and are left out.
 * Throws `UNSUPPORTED` for other tokenizers and for what llama.cpp would do otherwise, `FORMAT` for more tokens than
 * `vocabularySize` and for a broken file.
 */
export function tokenizerToGguf(tokenizerJson: Json, options: TokenizerToGgufOptions = {}): GgufMetadataEntry[] {
  return refuseMalformedJson('tokenizer.json is not built as a tokenizer', 'tokenizer', () =>
    convert(tokenizerJson, options),
  );
}

/** What differs between kinds of tokenizers. */
interface Converted {
  readonly tokens: TokenList;
  readonly entries: readonly GgufMetadataEntry[];
}

function convert(tokenizerJson: Json, options: TokenizerToGgufOptions): GgufMetadataEntry[] {
  const { tokenizerConfig = {} } = options;
  const model = (tokenizerJson.model ?? {}) as Json;
  const added = (tokenizerJson.added_tokens ?? []) as readonly AddedToken[];
  const kind = kindOf(model);
  const named = tokenList(model.vocab as Json, added, options.vocabularySize);
  const ids = new Map(named.texts.map((text, id) => [text, id]));
  const unknown = ids.get(String(model.unk_token ?? contentOf(tokenizerConfig.unk_token)));
  const around = surroundingTokens(tokenizerJson.post_processor as Json | null | undefined);
  const { tokens, entries } =
    kind === 'WordPiece'
      ? { tokens: wordPieceTokens(named), entries: wordPieceEntries(tokenizerJson, around) }
      : convertBpe(tokenizerJson, readBpeModel(model), named, unknown, options);
  return [
    ...entries,
    { key: 'tokenizer.ggml.tokens', type: 'string[]', value: [...tokens.texts] },
    { key: 'tokenizer.ggml.token_type', type: 'i32[]', value: tokens.types },
    ...specialEntries(specialIds(tokenizerConfig, ids, unknown, around, options, kind === 'WordPiece'), named.texts),
    ...addedEntries(tokenizerConfig, around, kind === 'WordPiece'),
    ...chatTemplateEntries(tokenizerConfig.chat_template),
  ];
}

function kindOf(model: Json): 'BPE' | 'WordPiece' {
  const type = model.type ?? (Array.isArray(model.merges) ? 'BPE' : undefined);
  const list = typeof model.vocab === 'object' && model.vocab !== null && !Array.isArray(model.vocab);
  if (list && type === 'WordPiece') return type;
  if (list && type === 'BPE' && Array.isArray(model.merges)) return type;
  const reason = type === 'Unigram' ? '; its normalization tables are not read here' : '';
  throw new HalftoneError(
    'UNSUPPORTED',
    `tokenizer.json: a ${String(type)} model has no GGUF form here, only BPE and WordPiece have${reason}`,
    { where: 'tokenizer', details: { type } },
  );
}

function convertBpe(
  tokenizerJson: Json,
  model: BpeModel,
  named: TokenList,
  unknown: number | undefined,
  { pre }: TokenizerToGgufOptions,
): Converted {
  if (!model.byteFallback) return { tokens: named, entries: byteLevelEntries(tokenizerJson, model, named, pre) };
  const tokens = sentencePieceTypes(named, model, unknown);
  return { tokens, entries: sentencePieceEntries(tokenizerJson, model, tokens) };
}

type SpecialIds = Readonly<Record<string, number | undefined>>;

/** By GGUF's names, one of which is misspelt. llama.cpp takes BERT's `[CLS]` as its BOS. */
function specialIds(
  config: Json,
  ids: ReadonlyMap<string, number>,
  unknown: number | undefined,
  around: SurroundingTokens | undefined,
  options: TokenizerToGgufOptions,
  wordPiece: boolean,
): SpecialIds {
  const idOf = (key: string) => ids.get(String(contentOf(config[key])));
  const eos = idOf('eos_token') ?? options.eos;
  const separator = wordPiece ? around?.after : idOf('sep_token');
  return {
    bos: agreed('bos', wordPiece ? undefined : (idOf('bos_token') ?? options.bos), around?.before),
    eos: wordPiece ? eos : agreed('eos', eos, around?.after),
    unknown,
    padding: idOf('pad_token') ?? options.pad,
    seperator: separator,
    cls: wordPiece ? around?.before : idOf('cls_token'),
    mask: idOf('mask_token'),
  };
}

/** llama.cpp puts its BOS and EOS around a text, so these must be the tokens that the template puts there. */
function agreed(name: string, configured: number | undefined, template: number | undefined): number | undefined {
  if (configured !== undefined && template !== undefined && configured !== template) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: its post_processor adds token ${template} where GGUF can only add ${name.toUpperCase()}, which is ${configured}; name it as ${name}_token in tokenizer_config.json`,
      { where: 'tokenizer', details: { name, configured, template } },
    );
  }
  return template ?? configured;
}

function specialEntries(special: SpecialIds, texts: readonly string[]): GgufMetadataEntry[] {
  return Object.entries(special).flatMap(([name, id]): GgufMetadataEntry[] =>
    id === undefined
      ? []
      : [{ key: `tokenizer.ggml.${name}_token_id`, type: 'u32', value: checkedId(id, texts, name) }],
  );
}

function addedEntries(config: Json, around: SurroundingTokens | undefined, wordPiece: boolean): GgufMetadataEntry[] {
  const bos = around ? around.before !== undefined : config.add_bos_token === true;
  const eos = around ? around.after !== undefined : config.add_eos_token === true;
  const entries: GgufMetadataEntry[] = [
    { key: 'tokenizer.ggml.add_bos_token', type: 'bool', value: bos },
    { key: 'tokenizer.ggml.add_eos_token', type: 'bool', value: eos && !wordPiece },
  ];
  if (wordPiece) entries.push({ key: 'tokenizer.ggml.add_sep_token', type: 'bool', value: true });
  return entries;
}

/** A special token's text, which may be wrapped in an object. */
function contentOf(token: unknown): unknown {
  return typeof token === 'object' && token !== null ? (token as Json).content : token;
}

interface BpeModel {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly byte_fallback?: boolean;
  readonly unk_token?: string | null;
}

function readModel(tokenizerJson: Json): BpeModel {
  const model = (tokenizerJson.model ?? {}) as Json;
  const type = model.type ?? (Array.isArray(model.merges) ? 'BPE' : undefined);
  const suffixed = Boolean(model.continuing_subword_prefix || model.end_of_word_suffix);
  if (type !== 'BPE' || suffixed || typeof model.vocab !== 'object' || !Array.isArray(model.merges)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: a ${String(type)} model${suffixed ? ' with word affixes' : ''} has no GGUF form here; only BPE without affixes has`,
      { where: 'tokenizer', details: { type } },
    );
  }
  const merges = model.merges.map((merge: unknown) => (Array.isArray(merge) ? merge : String(merge).split(' ')));
  const broken = merges.findIndex((pair) => pair.length !== 2 || pair.some((part) => String(part).includes(' ')));
  if (broken >= 0) {
    throw new HalftoneError('FORMAT', `tokenizer.json: merge ${broken} is not a pair of tokens without spaces`, {
      where: 'tokenizer',
      details: { merge: broken },
    });
  }
  return { ...model, merges } as unknown as BpeModel;
}

/** Texts by id. */
function collectTokens(model: BpeModel, added: readonly AddedToken[], vocabularySize: number | undefined): string[] {
  const entries: [string, number][] = [
    ...Object.entries(model.vocab),
    ...added.map(({ content, id }): [string, number] => [content, id]),
  ];
  const count = entries.reduce((most, [, id]) => Math.max(most, id + 1), 0);
  const size = vocabularySize ?? count;
  // Holes become tokens of their own: a damaged id must not make millions of them.
  if (vocabularySize === undefined && !(count <= 2 * entries.length + MOST_HOLES)) {
    throw new HalftoneError(
      'FORMAT',
      `tokenizer.json: has ${entries.length} tokens and an id ${count - 1}; give vocabularySize`,
      {
        where: 'tokenizer',
        details: { tokens: entries.length, count },
      },
    );
  }
  const texts = new Array<string | undefined>(size).fill(undefined);
  for (const [text, id] of entries) {
    if (!Number.isSafeInteger(id) || id < 0 || id >= size) {
      throw new HalftoneError(
        'FORMAT',
        `tokenizer.json: token ${JSON.stringify(text)} has id ${id}, but the model's vocabulary is ${size}; is it the model's tokenizer?`,
        { where: 'tokenizer', details: { token: text, id, vocabularySize: size } },
      );
    }
    texts[id] = text;
  }
  return texts.map((text, id) => text ?? `[PAD${id}]`);
}

function tokenTypes(
  texts: readonly string[],
  ids: ReadonlyMap<string, number>,
  model: BpeModel,
  added: readonly AddedToken[],
  unknown: number | undefined,
): Int32Array {
  const known = new Set([...Object.values(model.vocab), ...added.map(({ id }) => id)]);
  const types = new Int32Array(texts.length);
  for (let id = 0; id < types.length; id++) types[id] = known.has(id) ? TOKEN_TYPE.normal : TOKEN_TYPE.unused;
  for (let byte = 0; model.byte_fallback && byte < 256; byte++) {
    const id = ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    if (id !== undefined) types[id] = TOKEN_TYPE.byte;
  }
  for (const { id, special } of added) types[id] = special ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined;
  if (model.byte_fallback && unknown !== undefined) types[unknown] = TOKEN_TYPE.unknown;
  return types;
}

/** llama.cpp merges the pair whose result has the best score; the first merge that makes a token gives its score. */
function scoresOf(texts: readonly string[], merges: BpeModel['merges']): Float32Array {
  const ranks = new Map<string, number>();
  for (const [left, right] of merges) if (!ranks.has(left + right)) ranks.set(left + right, ranks.size);
  return Float32Array.from(texts, (text) => -(ranks.get(text) ?? ranks.size));
}

function byteLevelEntries(tokenizerJson: Json, pre: string | undefined): GgufMetadataEntry[] {
  const name = pre ?? detectPreTokenizer(tokenizerJson.pre_tokenizer as Json | null);
  return [
    { key: 'tokenizer.ggml.model', type: 'string', value: 'gpt2' },
    { key: 'tokenizer.ggml.pre', type: 'string', value: name },
  ];
}

function sentencePieceEntries(tokenizerJson: Json): GgufMetadataEntry[] {
  const steps = [
    ...flatten(tokenizerJson.normalizer, 'normalizers'),
    ...flatten(tokenizerJson.pre_tokenizer, 'pretokenizers'),
  ];
  const replacesSpaces = (step: Json) =>
    step.type === 'Metaspace' || (step.type === 'Replace' && (step.pattern as Json | undefined)?.String === ' ');
  const known = steps.every((step) => step.type === 'Prepend' || replacesSpaces(step));
  if (!known || !steps.some(replacesSpaces)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: byte fallback with ${steps.map(({ type }) => type).join(', ') || 'no normalizer'} is not SentencePiece's way of writing spaces`,
      { where: 'tokenizer' },
    );
  }
  const prefix = steps.some(
    (step) =>
      step.type === 'Prepend' ||
      (step.type === 'Metaspace' && step.prepend_scheme !== 'never' && step.add_prefix_space !== false),
  );
  return [
    { key: 'tokenizer.ggml.model', type: 'string', value: 'llama' },
    { key: 'tokenizer.ggml.pre', type: 'string', value: 'default' },
    { key: 'tokenizer.ggml.add_space_prefix', type: 'bool', value: prefix },
  ];
}

function flatten(step: unknown, key: string): Json[] {
  if (!step) return [];
  const { type, [key]: parts } = step as Json;
  return type === 'Sequence' ? (parts as unknown[]).flatMap((part) => flatten(part, key)) : [step as Json];
}

/** Ids that the post-processor puts before and after a text; undefined when it has no template. */
function templateTokens(processor: Json | null | undefined): { before?: number; after?: number } | undefined {
  if (processor?.type === 'Sequence') {
    return (processor.processors as Json[]).map(templateTokens).find((found) => found !== undefined);
  }
  if (processor?.type !== 'TemplateProcessing') return undefined;
  const pieces = processor.single as Json[];
  const text = pieces.findIndex((piece) => 'Sequence' in piece);
  const special = processor.special_tokens as Readonly<Record<string, { readonly ids: readonly number[] }>>;
  const idAt = (index: number) => {
    const name = (pieces[index]?.SpecialToken as Json | undefined)?.id;
    return typeof name === 'string' && Object.hasOwn(special, name) ? special[name]?.ids[0] : undefined;
  };
  return { before: idAt(text - 1), after: idAt(text + 1) };
}

function tokenId(token: unknown, ids: ReadonlyMap<string, number>): number | undefined {
  const text = typeof token === 'object' && token !== null ? (token as Json).content : token;
  return typeof text === 'string' ? ids.get(text) : undefined;
}

function checkedId(id: number, texts: readonly string[], name: string): number {
  if (Number.isSafeInteger(id) && id >= 0 && id < texts.length) return id;
  throw new HalftoneError('FORMAT', `the ${name} token id ${id} is outside the vocabulary of ${texts.length}`, {
function checkedId(id: unknown, texts: readonly string[], name: string): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < texts.length) return id;
  throw new HalftoneError('FORMAT', `the ${name} token id ${String(id)} is outside the vocabulary of ${texts.length}`, {
    where: 'tokenizer',
    details: { name, id },
  });
}

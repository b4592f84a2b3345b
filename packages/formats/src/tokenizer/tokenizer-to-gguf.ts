import { HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { refuseMalformedJson } from '../internal/malformed-json.js';
import { type BpeModel, readBpeModel } from './bpe-model.js';
import { byteLevelEntries } from './byte-level-to-gguf.js';
import { chatTemplateEntries } from './chat-templates.js';
import { type SurroundingTokens, surroundingTokens } from './post-processor.js';
import { sentencePieceEntries, sentencePieceTypes } from './sentencepiece-to-gguf.js';
import { type AddedToken, type Json, type TokenList, tokenList } from './token-list.js';
import { wordPieceEntries, wordPieceTokens } from './word-piece.js';

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

function checkedId(id: unknown, texts: readonly string[], name: string): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < texts.length) return id;
  throw new HalftoneError('FORMAT', `the ${name} token id ${String(id)} is outside the vocabulary of ${texts.length}`, {
    where: 'tokenizer',
    details: { name, id },
  });
}

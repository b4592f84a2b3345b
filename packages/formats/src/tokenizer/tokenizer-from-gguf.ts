import { type Checkpoint, HalftoneError } from '@halftone/tensor';
import { chatTemplateOf } from './chat-templates.js';
import { type SpecialToken, templateProcessor } from './post-processor.js';
import { preTokenizerOf } from './pre-tokenizers.js';
import { addedTokens, sentencePieceJson, TOKEN_TYPE, vocabularyOf } from './sentencepiece-json.js';
import { wordPieceJson } from './word-piece.js';

type Metadata = Checkpoint['metadata'];

/** What a tokenizer is loaded from. */
export interface TokenizerFiles {
  /** `tokenizer.json`. */
  readonly tokenizerJson: Readonly<Record<string, unknown>>;
  /** `tokenizer_config.json`: special tokens by their texts, `add_bos_token`, `add_eos_token`, the chat templates. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
}

interface TypedToken {
  readonly text: string;
  readonly type: number;
}

/**
 * Rebuilds `tokenizer.json` from a GGUF file's metadata, for byte-level BPE (`gpt2`), SentencePiece BPE (`llama`) and
 * WordPiece (`bert`). Byte-level text is cut by the patterns that `tokenizer.ggml.pre` stands for, without a normalizer, as
 * llama.cpp has none; a file without that key gets llama.cpp's `default` patterns. llama.cpp's own form of the patterns of
 * `tekken` and `gpt-4o` leaves out combining marks and letter case beyond ASCII.
 * Throws `UNSUPPORTED` for other tokenizers, `FORMAT` for lists that are missing or of unequal lengths.
 */
export function tokenizerFromGguf(metadata: Metadata): TokenizerFiles {
  const model = metadata.get('tokenizer.ggml.model');
  if (model !== 'gpt2' && model !== 'llama' && model !== 'bert') {
    throw new HalftoneError('UNSUPPORTED', `tokenizer.ggml.model '${String(model)}' is not gpt2, llama or bert`, {
      where: 'tokenizer',
      details: { model },
    });
  }
  const tokens = readTokens(metadata);
  const texts = tokens.map(({ text }) => text);
  const special = (name: string) => specialToken(metadata, name, texts);
  const flag = (name: string, fallback: boolean) => (metadata.get(`tokenizer.ggml.${name}`) ?? fallback) === true;
  const bytes = model === 'gpt2' ? preTokenizerOf(String(metadata.get('tokenizer.ggml.pre') ?? 'default')) : undefined;
  const bos = special('bos') ?? (model === 'bert' ? special('cls') : undefined);
  const eos = special('eos');
  const separator = special('seperator');
  const addBos = flag('add_bos_token', bytes ? bytes.addBos : true);
  const addEos = flag('add_eos_token', false);
  const chatTemplate = chatTemplateOf(metadata);
  const tokenizerConfig = {
    add_bos_token: addBos,
    add_eos_token: addEos,
    clean_up_tokenization_spaces: false,
    ...(model !== 'bert' && tokenText('bos_token', bos)),
    ...tokenText('eos_token', eos),
    ...tokenText('unk_token', special('unknown')),
    ...tokenText('pad_token', special('padding')),
    ...tokenText('sep_token', separator),
    ...tokenText('cls_token', model === 'bert' ? bos : special('cls')),
    ...tokenText('mask_token', special('mask')),
    ...(chatTemplate !== undefined && { chat_template: chatTemplate }),
  };
  if (model === 'bert') {
    const tokenizerJson = wordPieceJson(tokens, { cls: bos, sep: separator, unknown: special('unknown') }, metadata);
    return { tokenizerJson, tokenizerConfig };
  }
  const postProcessor = templateProcessor(addBos ? bos : undefined, addEos ? eos : undefined);
  if (!bytes) {
    const scores = numbers(metadata, 'tokenizer.ggml.scores', texts.length);
    const scored = tokens.map((token, id) => ({ ...token, score: scores[id] as number }));
    const addSpacePrefix = flag('add_space_prefix', true);
    return { tokenizerJson: sentencePieceJson(scored, { addSpacePrefix, postProcessor }), tokenizerConfig };
  }
  return { tokenizerJson: byteLevelJson(tokens, bytes, postProcessor, metadata), tokenizerConfig };
}

function readTokens(metadata: Metadata): TypedToken[] {
  const texts = strings(metadata, 'tokenizer.ggml.tokens');
  if (texts.length === 0) {
    throw new HalftoneError('FORMAT', 'tokenizer.ggml.tokens is empty', { where: 'tokenizer' });
  }
  const types = metadata.has('tokenizer.ggml.token_type')
    ? numbers(metadata, 'tokenizer.ggml.token_type', texts.length)
    : new Array<number>(texts.length).fill(TOKEN_TYPE.normal);
  return texts.map((text, id) => ({ text, type: types[id] as number }));
}

function byteLevelJson(
  tokens: readonly TypedToken[],
  { preTokenizer, ignoreMerges }: ReturnType<typeof preTokenizerOf>,
  postProcessor: object | null,
  metadata: Metadata,
) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(tokens),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: postProcessor,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges,
      vocab: vocabularyOf(tokens),
      merges: strings(metadata, 'tokenizer.ggml.merges').map(splitMerge),
    },
  };
}

function splitMerge(merge: string, index: number): [string, string] {
  const space = merge.indexOf(' ', 1);
  if (space < 0 || space === merge.length - 1) {
    throw new HalftoneError(
      'FORMAT',
      `tokenizer.ggml.merges: entry ${index} (${JSON.stringify(merge)}) is not a pair`,
      {
        where: 'tokenizer',
        details: { index },
      },
    );
  }
  return [merge.slice(0, space), merge.slice(space + 1)];
}

function strings(metadata: Metadata, key: string): readonly string[] {
  const value = metadata.get(key);
  if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return value;
  throw new HalftoneError('FORMAT', `${key} is ${value === undefined ? 'missing' : 'not a list of strings'}`, {
    where: 'tokenizer',
    details: { key },
  });
}

function numbers(metadata: Metadata, key: string, length: number): ArrayLike<number> {
  const value = metadata.get(key);
  const list = typeof value === 'object' ? (value as ArrayLike<number>) : undefined;
  if (list?.length === length && (length === 0 || typeof list[0] === 'number')) return list;
  throw new HalftoneError('FORMAT', `${key} must be a list of ${length} numbers, one for each token`, {
    where: 'tokenizer',
    details: { key, length: list?.length },
  });
}

function specialToken(metadata: Metadata, name: string, texts: readonly string[]): SpecialToken | undefined {
  const key = `tokenizer.ggml.${name}_token_id`;
  const id = metadata.get(key);
  if (id === undefined) return undefined;
  const text = typeof id === 'number' ? texts[id] : undefined;
  if (text === undefined) {
    throw new HalftoneError('FORMAT', `${key} ${String(id)} is outside the vocabulary of ${texts.length}`, {
      where: 'tokenizer',
      details: { key, id },
    });
  }
  return { id: Number(id), text };
}

function tokenText(key: string, token: SpecialToken | undefined) {
  return token ? { [key]: token.text } : {};
}

import { HalftoneError } from '@halftone/tensor';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { largestToken } from './internal/tokenizer-size.js';
import type { TokenizerFiles } from './model-source.js';

export interface EncodeOptions {
  /** Put BOS and the like around the text where the tokenizer's files say so. Default true. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave out special tokens such as BOS. Default false. */
  readonly skipSpecialTokens?: boolean;
}

/** Turns tokens into text as they come. */
export interface DecodeStream {
  /** The text that this token completes; empty while a character is unfinished. */
  push(token: number): string;
  /** What is left, an unfinished character as U+FFFD. The stream starts anew. */
  end(): string;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabularySize: number;
  readonly bos?: number;
  readonly eos?: number;
  /** Special tokens written out in the text become those tokens. About 1 MB/s; a text is held in memory several times over. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Ids that have no token, such as an embedding's padding rows, give no text. Throws `RANGE` for what is no id. */
  decode(tokens: ArrayLike<number>, options?: DecodeOptions): string;
  decodeStream(options?: DecodeOptions): DecodeStream;
}

const WHERE = 'tokenizer';

/**
 * Loads a tokenizer from the contents of tokenizer.json and tokenizer_config.json, through `@huggingface/tokenizers`.
 *
 * Decoding never cleans up spaces, whatever `clean_up_tokenization_spaces` says: text comes back as it was.
 * Throws `FORMAT` for files that do not describe a tokenizer.
 */
export function loadTokenizer(files: Pick<TokenizerFiles, 'tokenizerJson' | 'tokenizerConfig'>): Tokenizer {
  const { tokenizerJson, tokenizerConfig = {} } = files;
  const inner = construct(tokenizerJson, tokenizerConfig);
  const vocabularySize = largestToken(tokenizerJson).id + 1;

  function encode(text: string, { addSpecialTokens = true }: EncodeOptions = {}): Int32Array {
    const { ids } = inner.encode(text, { add_special_tokens: addSpecialTokens });
    const unknown = ids.findIndex((id) => typeof id !== 'number');
    if (unknown >= 0) {
      throw new HalftoneError(
        'FORMAT',
        `the text needs a token that the vocabulary lacks (at token ${unknown}), and there is no unknown token`,
        {
          where: WHERE,
          details: { index: unknown },
        },
      );
    }
    return Int32Array.from(ids);
  }

  function decode(tokens: ArrayLike<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const known: number[] = [];
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (!Number.isSafeInteger(token) || token < 0) {
        throw new HalftoneError('RANGE', `${token} at ${i} is not a token id`, {
          where: WHERE,
          details: { index: i, token },
        });
      }
      if (inner.id_to_token(token) !== undefined) known.push(token);
    }
    if (known.length === 0) return '';
    return inner.decode(known, { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false });
  }

  return {
    vocabularySize,
    bos: specialId(inner, tokenizerConfig.bos_token),
    eos: specialId(inner, tokenizerConfig.eos_token),
    encode,
    decode,
    decodeStream: (options) => decodeStream((tokens) => decode(tokens, options)),
  };
}

/**
 * Keeps the tokens of the last finished piece as context, because what a token looks like may depend on the one before it
 * (SentencePiece drops the first space of a text), and gives the difference that the newer tokens make.
 */
function decodeStream(decode: (tokens: readonly number[]) => string): DecodeStream {
  let context: number[] = [];
  let pending: number[] = [];
  const difference = () => decode([...context, ...pending]).slice(decode(context).length);
  return {
    push(token) {
      pending.push(token);
      const text = difference();
      if (text.endsWith('\uFFFD')) return '';
      // A token without text must not hide the context of the next one.
      if (text !== '') {
        context = pending;
        pending = [];
      }
      return text;
    },
    end() {
      const text = difference();
      context = [];
      pending = [];
      return text;
    },
  };
}

function construct(tokenizerJson: object, tokenizerConfig: object): HuggingFaceTokenizer {
  const defaults = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  try {
    return new HuggingFaceTokenizer({ ...defaults, ...tokenizerJson }, tokenizerConfig);
  } catch (cause) {
    throw new HalftoneError(
      'FORMAT',
      `tokenizer.json cannot be used: ${cause instanceof Error ? cause.message : cause}`,
      {
        where: WHERE,
        cause,
      },
    );
  }
}

function specialId(inner: HuggingFaceTokenizer, token: unknown): number | undefined {
  const text = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof text === 'string' ? inner.token_to_id(text) : undefined;
}

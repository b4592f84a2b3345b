import { mergesFromScores } from './merges-from-scores.js';

/** `tokenizer.ggml.token_type`. Source: llama.h, `llama_token_type`. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface SentencePieceToken {
  readonly text: string;
  readonly score: number;
  /** One of `TOKEN_TYPE`. */
  readonly type: number;
}

export interface SentencePieceOptions {
  /** A space is put in front of the text before it is cut. */
  readonly addSpacePrefix: boolean;
  readonly postProcessor: object | null;
}

/** `tokenizer.json` of a SentencePiece BPE vocabulary with byte fallback, spaces written as U+2581. */
export function sentencePieceJson(tokens: readonly SentencePieceToken[], options: SentencePieceOptions) {
  const mergeable = new Map<string, number>();
  for (const { text, score, type } of tokens) {
    if (type === TOKEN_TYPE.normal && !mergeable.has(text)) mergeable.set(text, score);
  }
  const unknown = tokens.find(({ type }) => type === TOKEN_TYPE.unknown)?.text ?? null;
  const prefix = options.addSpacePrefix ? [{ type: 'Prepend', prepend: '▁' }] : [];
  const strip = options.addSpacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(tokens),
    normalizer: {
      type: 'Sequence',
      normalizers: [...prefix, { type: 'Replace', pattern: { String: ' ' }, content: '▁' }],
    },
    pre_tokenizer: null,
    post_processor: options.postProcessor,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...strip,
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabularyOf(tokens),
      merges: mergesFromScores(mergeable),
    },
  };
}

/** Tokens that are found in text before anything else: control tokens, the unknown token and user-defined ones. */
export function addedTokens(tokens: readonly { readonly text: string; readonly type: number }[]) {
  return tokens.flatMap(({ text, type }, id) => {
    const special = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
    if (!special && type !== TOKEN_TYPE.userDefined) return [];
    return [{ id, content: text, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}

/** Text to id. Padding (`unused`) is left out; of equal texts the first wins. */
export function vocabularyOf(
  tokens: readonly { readonly text: string; readonly type: number }[],
): Record<string, number> {
  const ids = new Map<string, number>();
  tokens.forEach(({ text, type }, id) => {
    if (type !== TOKEN_TYPE.unused && !ids.has(text)) ids.set(text, id);
  });
  return Object.fromEntries(ids);
}

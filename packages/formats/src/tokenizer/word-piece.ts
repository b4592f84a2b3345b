import { type Checkpoint, HalftoneError } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { type SpecialToken, type SurroundingTokens, templateProcessor } from './post-processor.js';
import { addedTokens, TOKEN_TYPE, vocabularyOf } from './sentencepiece-json.js';
import { type Json, refuseDuplicates, type TokenList } from './token-list.js';

const SPACE = '▁';
const CONTINUING = '##';
const NORMALIZER_KEY = 'tokenizer.ggml.normalizer';

/**
 * WordPiece tokens as llama.cpp stores them (`bert`): U+2581 before those that begin a word, nothing before those that go on
 * with one. Added tokens stay as they are. Throws `FORMAT` where that gives two tokens one text.
 * Source: llama.cpp, conversion/bert.py.
 */
export function wordPieceTokens({ texts, types }: TokenList): TokenList {
  const stored = texts.map((text, id) => {
    if (types[id] !== TOKEN_TYPE.normal) return text;
    return text.startsWith(CONTINUING) ? text.slice(CONTINUING.length) : SPACE + text;
  });
  refuseDuplicates(stored);
  return { texts: stored, types };
}

/**
 * Keys of a WordPiece tokenizer. llama.cpp has no longest word: it cuts those into pieces that tokenizer.json makes unknown
 * for having more than `max_input_chars_per_word` characters; and versions that do not know the two `normalizer` keys
 * always make text lower case.
 * Throws `UNSUPPORTED` for other continuing prefixes, normalizers and pre-tokenizers than BERT's, and where no `[CLS]` and
 * `[SEP]` surround a text, for llama.cpp always puts them there.
 */
export function wordPieceEntries(tokenizerJson: Json, around: SurroundingTokens | undefined): GgufMetadataEntry[] {
  const model = tokenizerJson.model as Json;
  const normalizer = (tokenizerJson.normalizer ?? {}) as Json;
  const cleans = normalizer.clean_text !== false && normalizer.handle_chinese_chars !== false;
  const preTokenizer = (tokenizerJson.pre_tokenizer ?? {}) as Json;
  const problems = [
    (model.continuing_subword_prefix ?? CONTINUING) !== CONTINUING && 'a continuing prefix other than ##',
    (normalizer.type !== 'BertNormalizer' || !cleans) && 'a normalizer other than a cleaning BertNormalizer',
    preTokenizer.type !== 'BertPreTokenizer' && 'a pre-tokenizer other than BertPreTokenizer',
    (around?.before === undefined || around.after === undefined) && 'a post-processor without a token on both sides',
  ].filter((problem) => problem !== false);
  if (problems.length > 0) {
    throw new HalftoneError('UNSUPPORTED', `tokenizer.json: WordPiece with ${problems.join(', ')} has no GGUF form`, {
      where: 'tokenizer',
    });
  }
  const lowercase = normalizer.lowercase === true;
  const stripAccents = typeof normalizer.strip_accents === 'boolean' ? normalizer.strip_accents : lowercase;
  return [
    { key: 'tokenizer.ggml.model', type: 'string', value: 'bert' },
    { key: 'tokenizer.ggml.pre', type: 'string', value: 'default' },
    { key: `${NORMALIZER_KEY}.lowercase`, type: 'bool', value: lowercase },
    { key: `${NORMALIZER_KEY}.strip_accents`, type: 'bool', value: stripAccents },
  ];
}

/** `tokenizer.json` of a WordPiece vocabulary in llama.cpp's form. */
export function wordPieceJson(
  tokens: readonly { readonly text: string; readonly type: number }[],
  special: { readonly cls?: SpecialToken; readonly sep?: SpecialToken; readonly unknown?: SpecialToken },
  metadata: Checkpoint['metadata'],
): Json {
  const pieces = tokens.map(({ text, type }) => ({ text: pieceText(text, type), type }));
  const lowercase = metadata.get(`${NORMALIZER_KEY}.lowercase`) !== false;
  const stripAccents = (metadata.get(`${NORMALIZER_KEY}.strip_accents`) ?? lowercase) === true;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(pieces),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: stripAccents === lowercase ? null : stripAccents,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: templateProcessor(special.cls, special.sep),
    decoder: { type: 'WordPiece', prefix: CONTINUING, cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: special.unknown?.text ?? '[UNK]',
      continuing_subword_prefix: CONTINUING,
      max_input_chars_per_word: 100,
      vocab: vocabularyOf(pieces),
    },
  };
}

function pieceText(text: string, type: number): string {
  if (text.startsWith(SPACE)) return text.slice(SPACE.length);
  return type === TOKEN_TYPE.normal ? CONTINUING + text : text;
}

import { HalftoneError } from '@halftone/tensor';
import { MOST_CHARACTERS } from './bpe-model.js';

/**
 * The merge list that makes BPE equal to SentencePiece's: every pair of tokens whose concatenation is a token, best
 * score first. `tokens` maps mergeable texts (no control, byte or unknown tokens) to their scores.
 * Ties keep the order of `tokens`, then the shorter left part.
 * Cost: the number of characters of all tokens, each looked up twice.
 * Throws `UNSUPPORTED` for tokens of more than 256 characters.
 * Source: transformers, convert_slow_tokenizer.py.
 */
export function mergesFromScores(tokens: ReadonlyMap<string, number>): [string, string][] {
  const found: { readonly pair: [string, string]; readonly score: number }[] = [];
  for (const [text, score] of tokens) {
    if (text.length > MOST_CHARACTERS) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `a token of ${text.length} characters is longer than the ${MOST_CHARACTERS} for which merges are searched`,
        { where: 'tokenizer', details: { length: text.length } },
      );
    }
    let cut = 0;
    for (const character of text) {
      cut += character.length;
      if (cut === text.length) break;
      const left = text.slice(0, cut);
      const right = text.slice(cut);
      if (tokens.has(left) && tokens.has(right)) found.push({ pair: [left, right], score });
    }
  }
  return found.sort((a, b) => b.score - a.score).map(({ pair }) => pair);
}

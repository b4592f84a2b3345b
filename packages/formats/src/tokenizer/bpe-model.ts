import { HalftoneError } from '@halftone/tensor';
import type { Json } from './token-list.js';

/** Longest token, in UTF-16 units, whose merges are searched. The longest in use are runs of 128 spaces. */
export const MOST_CHARACTERS = 256;

export interface BpeModel {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly byteFallback: boolean;
  readonly ignoreMerges: boolean;
  readonly unknown?: string;
}

/** `model` of a BPE tokenizer. Throws `UNSUPPORTED` for word affixes, `FORMAT` for merges that are not pairs. */
export function readBpeModel(model: Json): BpeModel {
  if (model.continuing_subword_prefix || model.end_of_word_suffix) {
    throw new HalftoneError('UNSUPPORTED', 'tokenizer.json: a BPE model with word affixes has no GGUF form', {
      where: 'tokenizer',
    });
  }
  const merges = (model.merges as unknown[]).map((merge) => (Array.isArray(merge) ? merge : String(merge).split(' ')));
  const broken = merges.findIndex(
    (pair) => pair.length !== 2 || pair.some((part) => typeof part !== 'string' || part === '' || part.includes(' ')),
  );
  if (broken >= 0) {
    throw new HalftoneError('FORMAT', `tokenizer.json: merge ${broken} is not a pair of tokens without spaces`, {
      where: 'tokenizer',
      details: { merge: broken },
    });
  }
  return {
    vocab: model.vocab as BpeModel['vocab'],
    merges: lastOfEach(merges as [string, string][]),
    byteFallback: model.byte_fallback === true,
    ignoreMerges: model.ignore_merges === true,
    ...(typeof model.unk_token === 'string' && { unknown: model.unk_token }),
  };
}

/** Of a merge that is listed twice tokenizers take the last rank, llama.cpp the first. */
function lastOfEach(merges: readonly [string, string][]): BpeModel['merges'] {
  const last = new Map(merges.map((pair, rank) => [pair.join(' '), rank]));
  return last.size === merges.length ? merges : merges.filter((pair, rank) => last.get(pair.join(' ')) === rank);
}

/** Rank of every merge, by its two parts. */
export function mergeRanks(merges: BpeModel['merges']): ReadonlyMap<string, number> {
  return new Map(merges.map((pair, rank) => [pair.join(' '), rank]));
}

/** Whether BPE makes one token of its own text. */
export function mergesReach(token: string, ranks: ReadonlyMap<string, number>): boolean {
  if (token.length > MOST_CHARACTERS) return false;
  const parts = Array.from(token);
  while (parts.length > 1) {
    let best = Number.POSITIVE_INFINITY;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at < 0) return false;
    parts.splice(at, 2, (parts[at] as string) + (parts[at + 1] as string));
  }
  return true;
}

import { HalftoneError } from '@halftone/tensor';
import { TOKEN_TYPE } from './sentencepiece-json.js';

export type Json = Readonly<Record<string, unknown>>;

/** An entry of `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

/** A vocabulary by id, with what is known of each token. */
export interface TokenList {
  readonly texts: readonly string[];
  /** `TOKEN_TYPE` of each. */
  readonly types: Int32Array;
}

/** Without a size from the model, ids may leave holes, but the list stays within this many times the tokens there are. */
const MOST_HOLES = 4;

/**
 * Texts and types by id: `vocab`, then the added tokens, which are control tokens where they are special and user-defined
 * where not. Ids without a token become unused `[PADn]`.
 * Throws `FORMAT` for ids outside `vocabularySize` and for a text with two ids, which llama.cpp refuses to load.
 */
export function tokenList(vocab: Json, added: readonly AddedToken[], vocabularySize: number | undefined): TokenList {
  const entries: [string, unknown][] = [
    ...Object.entries(vocab),
    ...added.map(({ content, id }): [string, unknown] => [content, id]),
  ];
  const bound = vocabularySize ?? MOST_HOLES * entries.length + 1024;
  const count = entries.reduce((most, [text, id]) => Math.max(most, 1 + checkedTokenId(text, id, bound)), 0);
  const texts = new Array<string | undefined>(vocabularySize ?? count).fill(undefined);
  for (const [text, id] of entries) texts[id as number] = text;
  const types = Int32Array.from(texts, (text) => (text === undefined ? TOKEN_TYPE.unused : TOKEN_TYPE.normal));
  for (const { id, special } of added) types[id] = special ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined;
  const taken = new Set(texts);
  const named = texts.map((text, id) => {
    let name = text ?? `[PAD${id}]`;
    while (text === undefined && taken.has(name)) name += '_';
    return name;
  });
  refuseDuplicates(named);
  return { texts: named, types };
}

/** Throws `FORMAT` where two ids have one text. */
export function refuseDuplicates(texts: readonly string[]): void {
  const ids = new Map<string, number>();
  texts.forEach((text, id) => {
    const other = ids.get(text);
    if (other !== undefined) {
      throw new HalftoneError(
        'FORMAT',
        `tokenizer.json: tokens ${other} and ${id} would both be ${JSON.stringify(text)}; a GGUF vocabulary has every text once`,
        { where: 'tokenizer', details: { text, ids: [other, id] } },
      );
    }
    ids.set(text, id);
  });
}

function checkedTokenId(text: string, id: unknown, size: number): number {
  if (typeof text === 'string' && typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < size) return id;
  throw new HalftoneError(
    'FORMAT',
    `tokenizer.json: token ${JSON.stringify(text)} has id ${String(id)}, but the model's vocabulary is ${size}; is it the model's tokenizer?`,
    { where: 'tokenizer', details: { token: text, id, vocabularySize: size } },
  );
}

import { HalftoneError } from '@halftone/tensor';
import { isObject } from './config-fields.js';

/** The token with the largest id in the vocabulary and the added tokens of a tokenizer.json; -1 when there are none. */
export function largestToken(tokenizerJson: Readonly<Record<string, unknown>>): {
  readonly id: number;
  readonly token: string;
} {
  let largest = { id: -1, token: '' };
  const see = (id: unknown, token: unknown) => {
    if (typeof id === 'number' && id > largest.id) largest = { id, token: String(token) };
  };
  const { model, added_tokens: added } = tokenizerJson;
  const vocab = isObject(model) ? model.vocab : undefined;
  if (isObject(vocab)) for (const [token, id] of Object.entries(vocab)) see(id, token);
  else if (Array.isArray(vocab)) see(vocab.length - 1, 'the last one');
  if (Array.isArray(added)) for (const each of added) if (isObject(each)) see(each.id, each.content);
  return largest;
}

/** Throws `FORMAT` when a token id of tokenizer.json has no row in the embedding. */
export function checkTokenizer(tokenizerJson: unknown, vocabSize: number): void {
  if (!isObject(tokenizerJson) || !isObject(tokenizerJson.model)) {
    throw new HalftoneError('FORMAT', 'tokenizer.json has no model object', { where: 'modelSource' });
  }
  const { id, token } = largestToken(tokenizerJson);
  if (id >= vocabSize) {
    throw new HalftoneError(
      'FORMAT',
      `the tokenizer has id ${id} (${JSON.stringify(token)}) but the model only ${vocabSize} embeddings; they do not belong together`,
      { where: 'modelSource', details: { largest: id, vocabSize } },
    );
  }
}

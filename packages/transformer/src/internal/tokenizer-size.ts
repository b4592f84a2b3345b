import { HalftoneError } from '@halftone/tensor';
import { isObject } from './config-fields.js';

/** Throws `FORMAT` when a token id of tokenizer.json has no row in the embedding. */
export function checkTokenizer(tokenizerJson: unknown, vocabSize: number): void {
  if (!isObject(tokenizerJson) || !isObject(tokenizerJson.model)) {
    throw new HalftoneError('FORMAT', 'tokenizer.json has no model object', { where: 'modelSource' });
  }
  let largest = -1;
  let token = '';
  const see = (id: unknown, name: unknown) => {
    if (typeof id === 'number' && id > largest) {
      largest = id;
      token = String(name);
    }
  };
  const { vocab } = tokenizerJson.model;
  if (isObject(vocab)) for (const [name, id] of Object.entries(vocab)) see(id, name);
  else if (Array.isArray(vocab) && vocab.length > 0) see(vocab.length - 1, 'the last one');
  const added = tokenizerJson.added_tokens;
  if (Array.isArray(added)) for (const each of added) if (isObject(each)) see(each.id, each.content);
  if (largest >= vocabSize) {
    throw new HalftoneError(
      'FORMAT',
      `the tokenizer has id ${largest} (${JSON.stringify(token)}) but the model only ${vocabSize} embeddings; they do not belong together`,
      { where: 'modelSource', details: { largest, vocabSize } },
    );
  }
}

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpointPath } from '@halftone/formats/node';
import { type DType, decode, type PackedTensor, type Tensor } from '@halftone/tensor';
import { Tokenizer } from '@huggingface/tokenizers';
import type { ModelSource, TransformerModel } from '../src/index.js';

const SHARED = process.env.HALFTONE_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

export const hasShared = existsSync(join(SHARED, 'models'));
export const shared = (path: string) => join(SHARED, path);
/** Ends the title of a suite that is skipped without the test models. */
export const needsShared = hasShared ? '' : ' (skipped: no test models; set HALFTONE_SHARED to their folder)';

export interface Golden {
  readonly windows: number;
  readonly meanNll: number;
  readonly firstWindowsMeanNll: readonly number[];
}

export function golden(model: string): Golden {
  return JSON.parse(readFileSync(shared(`models/${model}/golden.json`), 'utf8')) as Golden;
}

export async function goldenLogits(model: string): Promise<{ inputIds: Int32Array; last4: Float32Array }> {
  const checkpoint = await openCheckpointPath(shared(`models/${model}/golden.safetensors`));
  const read = async (name: string) => decode((await checkpoint.tensors.get(name)?.read()) as PackedTensor<DType>);
  const result = { inputIds: Int32Array.from(await read('input_ids')), last4: await read('logits_last4') };
  await checkpoint.close();
  return result;
}

/** Token ids of the start of the held-out text. */
export function heldOutTokens(source: ModelSource, characters: number): number[] {
  const { tokenizerJson, tokenizerConfig } = source.tokenizer ?? {};
  const tokenizer = new Tokenizer(tokenizerJson as object, (tokenizerConfig ?? {}) as object);
  const text = readFileSync(shared('data/books-heldout.txt'), 'utf8').slice(0, characters);
  return tokenizer.encode(text).ids;
}

/** Mean of `-log p(next token)` in nats over all tokens but the first. */
export async function meanNll(model: TransformerModel, tokens: readonly number[]): Promise<number> {
  return meanNllOf(await model.forward(tokens), tokens);
}

export function meanNllOf(logits: Tensor<Float32Array>, tokens: readonly number[]): number {
  const vocabSize = logits.shape[1];
  let total = 0;
  for (let row = 0; row + 1 < tokens.length; row++) {
    const scores = logits.data.subarray(row * vocabSize, (row + 1) * vocabSize);
    let max = Number.NEGATIVE_INFINITY;
    for (const score of scores) max = Math.max(max, score);
    let sum = 0;
    for (const score of scores) sum += Math.exp(score - max);
    total += max + Math.log(sum) - scores[tokens[row + 1]];
  }
  return total / (tokens.length - 1);
}

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpointPath } from '@halftone/formats/node';
import { editedTensor, type FoldPlan, type ReadTensor } from '@halftone/norms';
import { type DType, decode, type LinearNode, type PackedTensor, tensor } from '@halftone/tensor';
import {
  createModel,
  loadTokenizer,
  type ModelSource,
  type TransformerModel,
  type WeightOverride,
} from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';

const SHARED = process.env.HALFTONE_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

export const hasModels = existsSync(join(SHARED, 'models'));
/** Ends the title of a suite that is skipped without the test models. */
export const needsModels = hasModels ? '' : ' (skipped: no test models; set HALFTONE_SHARED to their folder)';

export const openTestModel = (name: string): Promise<ModelSource> => openModel(join(SHARED, 'models', name));

export interface Golden {
  readonly meanNll: number;
  readonly firstWindowsMeanNll: readonly number[];
}

export function golden(name: string): Golden {
  return JSON.parse(readFileSync(join(SHARED, 'models', name, 'golden.json'), 'utf8')) as Golden;
}

/** The first 64 tokens that the reference logits were made from. */
export async function goldenTokens(name: string): Promise<Int32Array> {
  const checkpoint = await openCheckpointPath(join(SHARED, 'models', name, 'golden.safetensors'));
  const ids = await checkpoint.tensors.get('input_ids')?.read();
  await checkpoint.close();
  return Int32Array.from(decode(ids as PackedTensor<DType>));
}

/** The first `characters` of the held-out text as tokens. The last token may differ from that of the whole text. */
export function heldOutTokens(source: ModelSource, characters: number): Int32Array {
  const text = readFileSync(join(SHARED, 'data', 'books-heldout.txt'), 'utf8').slice(0, characters);
  if (source.tokenizer === undefined) throw new Error('the model has no tokenizer');
  return loadTokenizer(source.tokenizer).encode(text);
}

export function readTensors(source: ModelSource): ReadTensor {
  return async (name) => {
    const lazy = source.checkpoint.tensors.get(name);
    return lazy && tensor(decode((await lazy.read()) as PackedTensor<DType>), lazy.shape);
  };
}

/** Loads a model after plans that follow each other. */
export function createEdited(source: ModelSource, plans: readonly FoldPlan[]): Promise<TransformerModel> {
  const graph = (plans.at(-1) as FoldPlan).graph;
  const read = plans.reduce<ReadTensor>(
    (before, { edits }) =>
      (name) =>
        editedTensor(name, edits, before),
    readTensors(source),
  );
  const transposed = new Set(linearsOf(graph).flatMap((linear) => (linear.storedTransposed ? [linear.weight] : [])));
  const weights: WeightOverride = async (name) => {
    const value = await read(name);
    if (value === undefined || !transposed.has(name)) return value;
    const [rows, columns] = value.shape;
    return { ...value, shape: [columns, rows], stride: [1, columns] };
  };
  return createModel({ ...source, graph }, { weights });
}

export function linearsOf(graph: ModelSource['graph']): LinearNode[] {
  return [...graph.blocks.flatMap((block) => block.linears), graph.head];
}

/** Logits of all tokens. Disposes of the model. */
export async function logits(model: TransformerModel, tokens: Int32Array): Promise<Float32Array> {
  const { data } = await model.forward(tokens);
  await model.dispose();
  return data;
}

export function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);
}

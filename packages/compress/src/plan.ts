import type { LazyTensor } from '@halftone/tensor';
import type { ModelSource } from '@halftone/transformer';
import type { Recipe, RecipeModel, Treatment } from './recipe.js';
import type { TensorPlace } from './roles.js';

/** One tensor of the output and where its bytes go. */
export interface PlannedTensor {
  /** Name in the output. */
  readonly name: string;
  /** Name in the source, under which statistics are kept; undefined for a tensor that the output format adds. */
  readonly sourceName?: string;
  readonly place: TensorPlace;
  /** The source in the output's orientation and row order. */
  readonly source: LazyTensor;
  readonly treatment: Treatment;
  readonly file: number;
  /** Absolute offset in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Bytes that are known before any weight is read: headers, configuration and tokenizer files. */
export interface PlannedBytes {
  readonly file: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A whole output, byte positions included, before the first weight is read. */
export interface OutputPlan {
  readonly format: string;
  readonly files: readonly { readonly name: string; readonly byteLength: number }[];
  readonly fixed: readonly PlannedBytes[];
  /** In file order; embedding first, then block by block. */
  readonly tensors: readonly PlannedTensor[];
}

/** Plans the files of one output format. */
export interface OutputFormat {
  readonly name: string;
  plan(source: ModelSource, recipe: Recipe, options: { readonly name?: string }): OutputPlan;
}

/** The facts about a model that recipes decide by. */
export function recipeModel(source: ModelSource): RecipeModel {
  const { config, graph } = source;
  return {
    architecture: config.architecture,
    blocks: graph.blocks.length,
    heads: config.heads,
    kvHeads: config.kvHeads,
    tiedHead: graph.tiedHead,
  };
}

/** A LazyTensor over values that exist already. */
export function lazyFromValues(name: string, shape: readonly number[], values: Float32Array): LazyTensor<'f32'> {
  const columns = shape.length < 2 ? 1 : (shape.at(-1) as number);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return {
    kind: 'lazy',
    name,
    dtype: 'f32',
    shape,
    byteLength: values.byteLength,
    async read(rows) {
      const start = rows?.start ?? 0;
      const end = rows?.end ?? shape[0] ?? 1;
      return {
        kind: 'packed',
        dtype: 'f32',
        shape: shape.length === 0 ? [] : [end - start, ...shape.slice(1)],
        bytes: bytes.subarray(start * columns * 4, end * columns * 4),
      };
    },
  };
}

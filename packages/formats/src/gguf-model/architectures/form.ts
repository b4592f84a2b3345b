import type { Checkpoint, Shape } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../../gguf-types.js';
import type { Json } from '../config-fields.js';
import type { GgufExtraTensor } from '../types.js';

/** GGUF architectures of this version. `llama` also holds Hugging Face's `mistral`. */
export type GgufArchitecture =
  | 'llama'
  | 'qwen2'
  | 'qwen3'
  | 'gpt2'
  | 'gemma'
  | 'gemma2'
  | 'gemma3'
  | 'phi2'
  | 'phi3'
  | 'bert';

/** The sizes that tensor shapes follow from. */
export interface ModelSizes {
  readonly vocabulary: number;
  readonly context: number;
  readonly embedding: number;
  readonly blocks: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Values of a head that rotary positions turn. Equal to `headDim` but in phi's models. */
  readonly rotaryDim: number;
  /** Segment embeddings of BERT; 0 elsewhere. */
  readonly tokenTypes: number;
}

/** One tensor of an architecture, in both naming schemes. `{}` stands for the block index. */
export interface TensorRole {
  readonly gguf: string;
  /** As transformers saves the model: with the prefix of a causal language model (`model.`, `transformer.`). */
  readonly hf: string;
  readonly required: boolean;
  /** Logical shape: linear weights are `[out, in]`. */
  readonly shape: (sizes: ModelSizes) => Shape;
  /** GPT-2's Conv1D weights lie `[in, out]` in Hugging Face files. */
  readonly conv1d?: true;
  /** Rows are heads whose rotary halves GGUF interleaves. */
  readonly rotaryHeads?: 'heads' | 'kvHeads';
  /** A gain that Hugging Face stores less 1 (Gemma). */
  readonly gainLessOne?: true;
  /** Norms, biases and positions, which llama.cpp wants in F32. */
  readonly float: boolean;
}

/** What a model's configuration says, in GGUF's words. */
export interface ModelDescription {
  readonly architecture: GgufArchitecture;
  readonly sizes: ModelSizes;
  readonly tiedHead: boolean;
  /** The architecture's own keys, beyond the sizes that all have. */
  readonly keys: readonly GgufMetadataEntry[];
  /** Tensors that the Hugging Face checkpoint does not hold. */
  readonly extraTensors: readonly GgufExtraTensor[];
}

/** A GGUF file whose tensors and sizes were checked. */
export interface GgufModelFile {
  readonly metadata: Checkpoint['metadata'];
  readonly architecture: GgufArchitecture;
  readonly sizes: ModelSizes;
  /** By GGUF name. */
  readonly tensors: Checkpoint['tensors'];
}

/** All that differs from one architecture to another. */
export interface ArchitectureForm {
  readonly roles: readonly TensorRole[];
  /** Prefix of the whole model's names in Hugging Face checkpoints, with which and without which they are accepted. */
  readonly prefix: string;
  /** Further GGUF tensors that carry rotary factors. */
  readonly ropeTensors: readonly string[];
  /** Hugging Face tensors that have no place in GGUF and that llama.cpp's results do not depend on. */
  readonly ignored: RegExp;
  /** Reads `config.json`. Throws `UNSUPPORTED` and `FORMAT` as `huggingFaceToGguf` does. */
  describe(config: Json): ModelDescription;
  /** The architecture's part of `config.json`, sizes included. Reads rotary factors alone. */
  configJson(file: GgufModelFile): Promise<Json>;
}

type ShapeOf = (sizes: ModelSizes) => Shape;

export const queryRows = (s: ModelSizes) => s.heads * s.headDim;
export const kvRows = (s: ModelSizes) => s.kvHeads * s.headDim;
export const embeddingShape: ShapeOf = (s) => [s.embedding];
export const headShape: ShapeOf = (s) => [s.headDim];
export const vocabularyRows: ShapeOf = (s) => [s.vocabulary, s.embedding];

export function weight(gguf: string, hf: string, shape: ShapeOf, more: Partial<TensorRole> = {}): TensorRole {
  return { gguf: `${gguf}.weight`, hf: `${hf}.weight`, shape, required: true, float: false, ...more };
}

export function bias(gguf: string, hf: string, shape: ShapeOf, more: Partial<TensorRole> = {}): TensorRole {
  return { gguf: `${gguf}.bias`, hf: `${hf}.bias`, shape, required: false, float: true, ...more };
}

/** A gain, `[embedding]` by default. */
export function norm(gguf: string, hf: string, shape = embeddingShape, more: Partial<TensorRole> = {}): TensorRole {
  return weight(gguf, hf, shape, { float: true, ...more });
}

/** A layer norm's gain and bias. */
export function layerNorm(gguf: string, hf: string): TensorRole[] {
  return [norm(gguf, hf), bias(gguf, hf, embeddingShape, { required: true })];
}

/** A linear weight `[out, in]` and its bias, both required. */
export function biasedLinear(
  gguf: string,
  hf: string,
  out: (sizes: ModelSizes) => number,
  input: (sizes: ModelSizes) => number,
  more: Partial<TensorRole> = {},
): TensorRole[] {
  return [weight(gguf, hf, (s) => [out(s), input(s)], more), bias(gguf, hf, (s) => [out(s)], { required: true })];
}

/** Keys of one architecture in order; entries without a value are left out. */
export function keyList(
  architecture: GgufArchitecture,
  entries: readonly (readonly [
    key: string,
    type: GgufMetadataEntry['type'],
    value: GgufMetadataEntry['value'] | undefined,
  ])[],
): GgufMetadataEntry[] {
  return entries.flatMap(([key, type, value]) =>
    value === undefined ? [] : [{ key: `${architecture}.${key}`, type, value }],
  );
}

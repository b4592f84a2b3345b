/**
 * Contracts between packages that may not import each other, and between Halftone and plug-ins.
 * Types only: importing this file costs nothing at run time.
 */
import type { QuantizedTensor, Scheme } from './quantized.js';
import type {
  Awaitable,
  LazyTensor,
  PackedTensor,
  ReadIntoOptions,
  ReadOptions,
  Shape,
  StorageType,
  Tensor,
} from './types.js';

/** Options of every long-running function. */
export interface WorkOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
}

// ---------------------------------------------------------------- files

/** Random access to bytes: a file, a Blob, an ArrayBuffer, a URL that answers range requests. */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  /**
   * Reads exactly `[start, end)`. Rejects with `IO` when the source is shorter than it said, with `RANGE` when `into` has
   * another length.
   */
  read(start: number, end: number, options?: ReadIntoOptions): Promise<Uint8Array>;
  close?(): Promise<void>;
}

/** Sequential output that appears under its name only when `commit` resolves. */
export interface ByteSink {
  readonly position: number;
  write(bytes: Uint8Array): Promise<void>;
  commit(): Promise<void>;
  /** Leaves nothing behind. Safe to call after a failed write. */
  abort(): Promise<void>;
}

export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | readonly MetadataValue[]
  | ArrayLike<number>
  | ArrayLike<bigint>;

/** An opened weight file, or a set of shards seen as one. Holds names, types and shapes, no weights. */
export interface Checkpoint {
  readonly format: string;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** In file order. */
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  /** Weights that a layout (GPTQ, AWQ, ...) keeps in several tensors, by the name of the weight. Their tensors are not in `tensors`. */
  readonly quantized?: ReadonlyMap<string, LazyQuantizedTensor>;
  /** Bytes of all files, headers included. */
  readonly byteLength: number;
  close(): Promise<void>;
}

export interface FormatCodec {
  readonly name: string;
  readonly extensions: readonly string[];
  /** True when the first bytes (at least 16 where the file has them) are of this format. */
  sniff(head: Uint8Array): boolean;
  open(source: ByteSource, options?: ReadOptions): Promise<Checkpoint>;
}

/** What a writer must know before the first byte of data. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: StorageType;
  readonly shape: readonly number[];
}

// ---------------------------------------------------------------- layouts of quantized weights

/** A quantized weight that is still in its file, as one tensor or several. Reading is repeatable. */
export interface LazyQuantizedTensor {
  readonly kind: 'lazy-quantized';
  /** Of the weight as a model names it: `model.layers.0.mlp.up_proj.weight`. */
  readonly name: string;
  readonly shape: Shape;
  readonly scheme: Scheme;
  /** The layout's name. */
  readonly layout: string;
  /** Names of the tensors that hold it. */
  readonly stored: readonly string[];
  /** Bytes of those tensors. */
  readonly byteLength: number;
  /** Throws `FORMAT` for parts that do not fit each other, `RANGE` for codes and indices beyond their tables. */
  read(options?: ReadOptions): Promise<QuantizedTensor>;
}

/** A parsed JSON object from a file: nothing about it is certain. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * How one tool names and packs quantized weights inside a container, together with the `config.json` that its runtime reads.
 * Layouts repack and never round: what a layout cannot hold exactly is refused with the reason.
 */
export interface WeightLayout {
  /** As `quantization_config.quant_method` says where there is such a key: `gptq`, `awq`, `compressed-tensors`, ... */
  readonly name: string;
  /** Whether the checkpoint is in this layout, by `config.json` and the names and types of its tensors. */
  detect(checkpoint: Checkpoint, config?: JsonObject): boolean;
  /**
   * The quantized weights of a checkpoint that `detect` accepted, by name. Reads no weights (small tensors that hold settings,
   * yes). Throws `FORMAT` for parts that are missing or do not fit, `UNSUPPORTED` for variants that are not read.
   */
  weights(
    checkpoint: Checkpoint,
    config?: JsonObject,
    options?: ReadOptions,
  ): Awaitable<ReadonlyMap<string, LazyQuantizedTensor>>;
  /** Absent: the layout is only read. */
  readonly writer?: LayoutWriter;
}

export interface LayoutWriter {
  /** Embedding tables and heads may be held too, not only the linear layers of blocks. Default false. */
  readonly embeddings?: boolean;
  /**
   * The tensors that hold weight `name`, exactly. Throws `UNSUPPORTED` with the reason for what the layout cannot hold.
   * `settings` is what the configuration must say about it. A pure function.
   */
  split(name: string, weight: QuantizedTensor): SplitWeight;
  /**
   * Keys to set in `config.json` (`quantization_config`). `plain` are the linear layers of the model that are not quantized, by the
   * names of their weights. Throws `UNSUPPORTED` when one file cannot hold these settings together.
   */
  config(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject;
  /** Entries for the metadata of the container itself (`__metadata__` of safetensors), where the layout describes itself there. */
  metadata?(weights: ReadonlyMap<string, JsonObject>): Readonly<Record<string, string>>;
}

export interface SplitWeight {
  /** In the order of the file, by full name. */
  readonly tensors: ReadonlyMap<string, PackedTensor>;
  readonly settings: JsonObject;
}

// ---------------------------------------------------------------- statistics and quantizers

/** Statistics of a linear layer's input, `x` of shape `[tokens, in]`. */
export type StatName = 'inputSquares' | 'inputAbsMean' | 'inputAbsMax' | 'hessian';

export interface InputStatistics {
  readonly tokens: number;
  /** `[in]`, mean of x squared over tokens: llama.cpp's importance matrix. */
  readonly inputSquares?: Float64Array;
  /** `[in]` */
  readonly inputAbsMean?: Float64Array;
  /** `[in]` */
  readonly inputAbsMax?: Float64Array;
  /** `[in, in]` row-major, the mean over tokens of `x xᵀ`, both triangles filled. */
  readonly hessian?: Float64Array;
}

/** Streams rows of a linear's input into one statistic. `merge` makes parallel calibration a sum. */
export interface Collector<State = unknown> {
  readonly name: StatName;
  init(inFeatures: number): State;
  /** `x` holds `rows` rows of `inFeatures` values. */
  update(state: State, x: Float32Array, rows: number): void;
  merge(into: State, from: State): void;
  finish(state: State): InputStatistics;
}

export interface QuantizeContext {
  /** Name of the tensor, for messages. */
  readonly name: string;
  readonly statistics?: InputStatistics;
  readonly signal?: AbortSignal;
}

/** Turns a float weight `[out, in]` into codes and scales. */
export interface Quantizer {
  readonly name: string;
  readonly scheme: Scheme;
  /** Statistics this quantizer cannot do without. */
  readonly needs: readonly StatName[];
  /** Rows are independent: any range of rows may be quantized alone, with the same result. */
  readonly rowwise: boolean;
  quantize(weight: Tensor<Float32Array>, context: QuantizeContext): Awaitable<QuantizedTensor>;
}

// ---------------------------------------------------------------- the block graph

/** Names a value that flows between nodes of a block, for example `residual`, `attention.input`. */
export type EdgeName = string;

/** `y = W x + b`, with `W` of logical shape `[out, in]` wherever it is stored. */
export interface LinearNode {
  /** Within the block, architecture-neutral: `attention.query`, `attention.output`, `mlp.down`, ... */
  readonly name: string;
  /** Checkpoint tensor in Hugging Face naming. */
  readonly weight: string;
  readonly bias?: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** GPT-2's Conv1D stores `[in, out]`. */
  readonly storedTransposed?: boolean;
  readonly input: EdgeName;
  readonly output: EdgeName;
  /** Heads along the output rows (query, key, value) or the input columns (attention output). */
  readonly heads?: { readonly axis: 0 | 1; readonly count: number; readonly size: number };
}

export interface NormNode {
  readonly name: string;
  readonly kind: 'rms' | 'layer';
  readonly gain: string;
  readonly bias?: string;
  readonly epsilon: number;
  readonly features: number;
  readonly input: EdgeName;
  readonly output: EdgeName;
}

/** One transformer block as plain data. What a method may do follows from it, never from the architecture's name. */
export interface BlockGraph {
  readonly index: number;
  readonly norms: readonly NormNode[];
  readonly linears: readonly LinearNode[];
  /** Edges read by something that is neither a norm nor a linear (a residual add, a gate): nothing may be folded there. */
  readonly otherReaders: readonly EdgeName[];
  /** Linears whose output is added to the residual stream. */
  readonly residualWriters: readonly string[];
}

/** The whole model: what stands before the first block and after the last. */
export interface ModelGraph {
  readonly blocks: readonly BlockGraph[];
  readonly embedding: string;
  readonly positionEmbedding?: string;
  readonly finalNorm: NormNode;
  readonly head: LinearNode;
  /** The head shares its weight with the embedding. */
  readonly tiedHead: boolean;
}

// ---------------------------------------------------------------- weight edits

/** A vector: given, or read from a 1-d tensor of the checkpoint. */
export type EditVector = string | Float32Array | Float64Array;

/**
 * One change of one float tensor, as plain data. `axis` counts in the stored shape.
 *
 * The edits of a plan on one tensor run in order. Every other tensor that an edit reads is taken as it was before the plan,
 * so tensors can be edited in any order, one at a time.
 */
export type Edit =
  /** Multiplies what has index `i` along `axis` by `by[i]`. */
  | { readonly type: 'scale'; readonly tensor: string; readonly axis: number; readonly by: EditVector }
  /** Adds the product of the 2-d tensor `matrix`, summed over its `axis`, with `vector`. Starts from zeros where `tensor` is new. */
  | {
      readonly type: 'addProduct';
      readonly tensor: string;
      readonly matrix: string;
      readonly axis: number;
      readonly vector: EditVector;
    }
  /** Subtracts the mean over `axis`. */
  | { readonly type: 'center'; readonly tensor: string; readonly axis: number }
  | { readonly type: 'fill'; readonly tensor: string; readonly value: number }
  /** Makes `tensor` from another one, for example a head of its own from a tied embedding. */
  | { readonly type: 'copy'; readonly tensor: string; readonly from: string }
  | { readonly type: 'remove'; readonly tensor: string };

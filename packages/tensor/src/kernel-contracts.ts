/**
 * Contracts of what runs a model: kernels, and the caches of keys and values that they read.
 * Types only: importing this file costs nothing at run time.
 */
import type { QuantizedTensor, Scheme } from './quantized.js';
import type { Awaitable, LazyTensor, PackedTensor, ReadOptions, StorageType, Tensor } from './types.js';

/** A weight that a backend has taken over. */
export interface UploadedLinear {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** Bytes held for it. */
  readonly byteLength: number;
}

/** Matrix products for linear layers. CPU backends work on Float32Array in place. */
export interface KernelBackend {
  readonly name: string;
  /** Whether `uploadLinear` takes a quantized weight of this scheme without decoding it first. */
  supports(scheme: Scheme): boolean;
  /** `weight` is `[out, in]`. Throws `UNSUPPORTED` for a scheme that `supports` denies. */
  uploadLinear(weight: Tensor<Float32Array> | QuantizedTensor, bias?: Float32Array): UploadedLinear;
  /** Whether `uploadPacked` takes weights stored like this. Absent: it takes none. */
  supportsPacked?(dtype: StorageType): boolean;
  /**
   * Takes over a weight `[out, in]` as its file stores it, without decoding it in JavaScript; one that is still in its file is
   * read in ranges of rows, into the backend's memory where the reader can. Computes what `uploadLinear` computes for the same
   * weight, unpacked or decoded. Rejects with `UNSUPPORTED` for a type that `supportsPacked` denies, `SHAPE` for what is no
   * matrix, `ABORTED`, and what reading rejects with; nothing is held then.
   */
  uploadPacked?(weight: PackedTensor | LazyTensor, bias?: Float32Array, options?: ReadOptions): Promise<UploadedLinear>;
  /**
   * `out[r, o] = sum_i x[r, i] W[o, i] + bias[o]` for `rows` rows; `x` is `[rows, in]`, `out` `[rows, out]`, both row-major.
   * Resolves (or returns, for a synchronous backend) when `out` is written.
   */
  linear(weight: UploadedLinear, x: Float32Array, rows: number, out: Float32Array): Awaitable<void>;
  release(weight: UploadedLinear): void;
  dispose(): Awaitable<void>;
  /** The rest of a transformer block. Absent: callers compute it in TypeScript. */
  readonly block?: BlockKernels;
}

/** Applied to each element: SiLU, GELU by the error function, GELU's tanh approximation. */
export type ActivationName = 'silu' | 'gelu' | 'gelu_tanh';

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** A query at position `p` sees positions in `(p - window, p]`. Default: all up to `p`. */
  readonly window?: number;
}

/** Memory that kernels reach. */
export interface KernelMemory {
  /** An array of zeros that kernels read and write in place. Throws `DEVICE` when there is no room. */
  allocate(length: number): Float32Array;
  /** Gives back an array of `allocate` (not a part of one). Others are ignored. */
  free(array: Float32Array): void;
}

/**
 * What a transformer block computes beside its linear layers. Arrays may be any; those of `allocate`, and parts of them, spare
 * a copy. All matrices are row-major. Each method resolves (or returns) when its output is written.
 */
export interface BlockKernels extends KernelMemory {
  /** `out = x / sqrt(mean(x^2) + epsilon) * gain`, each row alone; `out` may be `x`. */
  rmsNorm(
    x: Float32Array,
    rows: number,
    features: number,
    gain: Float32Array,
    epsilon: number,
    out: Float32Array,
  ): Awaitable<void>;
  /** `out = (x - mean) / sqrt(variance + epsilon) * gain + bias`, each row alone; `out` may be `x`. */
  layerNorm(
    x: Float32Array,
    rows: number,
    features: number,
    gain: Float32Array,
    bias: Float32Array | undefined,
    epsilon: number,
    out: Float32Array,
  ): Awaitable<void>;
  /**
   * Rotates channel `i` of every head with channel `i + pairs`, in place: `x` is `[rows, heads * 2 * pairs]`, row `r` turns by the
   * angles whose cosines and sines are in row `rowIndex[r]` of tables `[.., pairs]`.
   */
  rotate(
    x: Float32Array,
    rowIndex: Int32Array,
    heads: number,
    pairs: number,
    cosines: Float32Array,
    sines: Float32Array,
  ): Awaitable<void>;
  /** `x = activation(x) * factor`, in place; without `factor`, the activation alone. */
  activate(name: ActivationName, x: Float32Array, length: number, factor?: Float32Array): Awaitable<void>;
  /** `x += y` */
  add(x: Float32Array, y: Float32Array, length: number): Awaitable<void>;
  /**
   * Causal attention: `query` and `out` are `[positions.length, heads * headDim]`, `view(kvHead)` gives keys and values. A query
   * that sees no entry gets zeros. The views of all heads are held at once, until `out` is written.
   */
  attend(
    shape: AttentionShape,
    query: Float32Array,
    positions: Int32Array,
    view: (kvHead: number) => KvView,
    out: Float32Array,
  ): Awaitable<void>;
}

// ---------------------------------------------------------------- key/value cache

export interface KvShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * What attention reads for one layer and one key/value head. Arrays may be longer than `length` entries; only the first count.
 * Valid until the next call on the cache.
 */
export interface KvView {
  readonly length: number;
  /** At least `[length, headDim]` row-major, rotated (post-RoPE) keys. */
  readonly keys: Float32Array;
  /** At least `[length, headDim]` row-major. */
  readonly values: Float32Array;
  /** At least `[length]`, position in the sequence of each entry, increasing. */
  readonly positions: Int32Array;
}

/** Keys and values of one sequence, ragged over layers and key/value heads. */
export interface KvCache extends KvShape {
  /**
   * Adds `positions.length` tokens to every head of a layer. `keys` and `values` are `[tokens, kvHeads * headDim]` row-major.
   * Positions continue upward from the last ones of that layer.
   */
  append(layer: number, keys: Float32Array, values: Float32Array, positions: Int32Array): void;
  view(layer: number, kvHead: number): KvView;
  length(layer: number, kvHead: number): number;
  /** Forgets entries at `position` and later, in every layer. */
  truncate(position: number): void;
  clear(): void;
  /** Bytes held for entries, by account. */
  readonly byteLength: number;
  /** Gives back memory that the garbage collector does not. */
  dispose?(): void;
}

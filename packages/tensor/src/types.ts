import type { DType } from './dtype.js';
import type { GgmlType } from './ggml-types.js';

/** Typed arrays that JavaScript indexes natively. */
export type NativeArray =
  | Float64Array
  | Float32Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | Uint8ClampedArray
  | BigInt64Array
  | BigUint64Array;

export type Shape = readonly number[];
export type Awaitable<T> = T | Promise<T>;

/** A strided view, structurally equal to the npm package `ndarray`. Strides and offset count elements. */
export interface NdView<D = ArrayLike<number>> {
  readonly data: D;
  readonly shape: Shape;
  readonly stride: readonly number[];
  readonly offset: number;
}

/** A tensor in host memory. The typed array tells the element type. A plain `ndarray` is one. */
export interface Tensor<D extends NativeArray = NativeArray> extends NdView<D> {
  readonly kind?: undefined;
}

/** How a tensor's bytes are laid out in a file: an element type, or a ggml block type (`Q4_K`). */
export type StorageType = DType | GgmlType;

/**
 * Encoded elements that JavaScript cannot index: bf16, fp8, 4-bit codes, ggml blocks.
 *
 * Sub-byte elements lie low-first in one dense bit stream for each row (last axis), and each row starts on a byte.
 */
export interface PackedTensor<T extends StorageType = StorageType> {
  readonly kind: 'packed';
  readonly dtype: T;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** Options of a read that gives bytes. */
export interface ReadIntoOptions extends ReadOptions {
  /**
   * Where the bytes should go, exactly as long as they are; it may lie in shared memory. The read then gives this array, or one
   * of its own where the bytes are in memory already: use what it gives. Default: a new array. After a failed read it holds
   * anything.
   */
  readonly into?: Uint8Array;
}

/** A half-open range `[start, end)` of indices along axis 0. */
export interface RowRange {
  readonly start: number;
  readonly end: number;
}

/** A tensor that is still in its file. Reading is repeatable and may be done in row ranges. */
export interface LazyTensor<T extends StorageType = StorageType> {
  readonly kind: 'lazy';
  readonly name: string;
  readonly dtype: T;
  readonly shape: Shape;
  /** Bytes in the file. */
  readonly byteLength: number;
  /** Reads all rows (axis 0) or a range of them. A 0- or 1-d tensor is read as one row of elements: ranges count elements. */
  read(rows?: RowRange, options?: ReadIntoOptions): Promise<PackedTensor<T>>;
}

/** A tensor that lives in a device's memory. */
export interface DeviceTensor<T extends DType = DType> {
  readonly kind: 'device';
  readonly device: string;
  readonly dtype: T;
  readonly shape: Shape;
  readonly handle: unknown;
  read(): Promise<PackedTensor<T>>;
  dispose(): void;
}

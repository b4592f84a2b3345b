import { decodeGgml, unpackGgml } from '@halftone/formats';
import {
  type Awaitable,
  contiguousData,
  type DType,
  decode,
  dequantize,
  elementCount,
  type GgmlType,
  HalftoneError,
  isGgmlType,
  type KernelBackend,
  type LazyTensor,
  type LinearNode,
  type PackedTensor,
  type QuantizedTensor,
  type ReadOptions,
  type Shape,
  sameShape,
  type Tensor,
  tensor,
  type UploadedLinear,
} from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import type { ModelSource } from './model-source.js';

/**
 * Replaces weights while they are loaded, for example by fake-quantized ones. `name` is the checkpoint's tensor name; undefined
 * keeps the file's tensor. A linear weight is returned in its logical shape `[out, in]`, wherever and however it is stored.
 */
export type WeightOverride = (name: string) => Awaitable<Tensor<Float32Array> | QuantizedTensor | undefined>;

export interface LoadOptions extends ReadOptions {
  readonly weights?: WeightOverride;
  /**
   * `stored` (the default) hands quantized weights to backends that take their scheme as they are, and decodes them to float32
   * for others; `f32` always decodes.
   */
  readonly precision?: 'stored' | 'f32';
}

const WHERE = 'loadLinear';

/**
 * Reads one linear layer into the backend. Backends that take weights as they are stored read the file into their own memory, a
 * few rows at a time; others get it unpacked or decoded to float32 `[out, in]`, which holds this one weight in memory twice.
 * Throws `FORMAT` for a missing tensor and `SHAPE` for a replacement of the wrong shape.
 */
export async function loadLinear(
  source: ModelSource,
  node: LinearNode,
  backend: KernelBackend,
  options: LoadOptions = {},
): Promise<UploadedLinear> {
  const shape = [node.outFeatures, node.inFeatures];
  const bias = node.bias === undefined ? undefined : await loadVector(source, node.bias, node.outFeatures, options);
  const keep = (weight: QuantizedTensor) => options.precision !== 'f32' && backend.supports(weight.scheme);

  const replacement = await options.weights?.(node.weight);
  if (replacement !== undefined) {
    checkShape(node.weight, replacement.shape, shape);
    if (replacement.kind !== 'quantized') return backend.uploadLinear(replacement, bias);
    return backend.uploadLinear(keep(replacement) ? replacement : tensor(dequantize(replacement), shape), bias);
  }
  const quantized = source.checkpoint.quantized?.get(node.weight);
  if (quantized !== undefined) {
    const weight = await quantized.read({ signal: options.signal });
    return backend.uploadLinear(keep(weight) ? weight : tensor(dequantize(weight), shape), bias);
  }
  const lazy = findTensor(source, node.weight);
  if (backend.uploadPacked !== undefined && isTakenAsStored(lazy, node, backend, options)) {
    return backend.uploadPacked(lazy, bias, { signal: options.signal });
  }
  const stored = await lazy.read(undefined, { signal: options.signal });
  if (
    isGgmlType(stored.dtype) &&
    !node.storedTransposed &&
    options.precision !== 'f32' &&
    backend.supports(GGML_SCHEMES[stored.dtype])
  ) {
    return backend.uploadLinear(unpackGgml(stored as PackedTensor<GgmlType>), bias);
  }
  const values = toFloats(stored);
  const weight = node.storedTransposed ? transposed(values, node.inFeatures, node.outFeatures) : values;
  return backend.uploadLinear(tensor(weight, shape), bias);
}

/** Whether a backend takes the bytes of the file: of blocks unless they are to be decoded, of floats in any case. */
function isTakenAsStored(
  { dtype, shape }: LazyTensor,
  { outFeatures, inFeatures, storedTransposed }: LinearNode,
  backend: KernelBackend,
  { precision }: LoadOptions,
): boolean {
  if (storedTransposed || !sameShape(shape, [outFeatures, inFeatures])) return false;
  if (precision === 'f32' && isGgmlType(dtype)) return false;
  return backend.supportsPacked?.(dtype) === true;
}

/** Reads a norm's gain, or a bias, as float32. */
export async function loadVector(
  source: ModelSource,
  name: string,
  length: number,
  options: LoadOptions = {},
): Promise<Float32Array> {
  const replacement = await options.weights?.(name);
  if (replacement !== undefined) {
    checkShape(name, replacement.shape, [length]);
    return replacement.kind === 'quantized' ? dequantize(replacement) : contiguousData(replacement).slice();
  }
  return toFloats(await readTensor(source, name, options));
}

/** Rows that are kept as they are stored, and decoded one at a time. */
export interface RowTable {
  readonly byteLength: number;
  /** Writes row `index` to `out` from `at`. */
  row(index: number, out: Float32Array, at: number): void;
}

/** Loads an embedding table `[rows, features]`. */
export async function loadRows(
  source: ModelSource,
  name: string,
  shape: readonly [number, number],
  options: LoadOptions = {},
): Promise<RowTable> {
  const [, features] = shape;
  const replacement = await options.weights?.(name);
  if (replacement !== undefined) {
    checkShape(name, replacement.shape, shape);
    const values = replacement.kind === 'quantized' ? dequantize(replacement) : contiguousData(replacement).slice();
    return floatRows(values, features);
  }
  const quantized = source.checkpoint.quantized?.get(name);
  if (quantized !== undefined) {
    return floatRows(dequantize(await quantized.read({ signal: options.signal })), features);
  }
  const { dtype, bytes } = await readTensor(source, name, options);
  const rowBytes = bytes.byteLength / shape[0];
  if (!Number.isInteger(rowBytes)) {
    const values = toFloats({ kind: 'packed', dtype, shape, bytes });
    return floatRows(values, features);
  }
  return {
    byteLength: bytes.byteLength,
    row(index, out, at) {
      const row = bytes.subarray(index * rowBytes, (index + 1) * rowBytes);
      toFloats({ kind: 'packed', dtype, shape: [1, features], bytes: row }, out.subarray(at, at + features));
    },
  };
}

function floatRows(values: Float32Array, features: number): RowTable {
  return {
    byteLength: values.byteLength,
    row: (index, out, at) => out.set(values.subarray(index * features, (index + 1) * features), at),
  };
}

async function readTensor(source: ModelSource, name: string, { signal }: ReadOptions): Promise<PackedTensor> {
  return findTensor(source, name).read(undefined, { signal });
}

function findTensor(source: ModelSource, name: string): LazyTensor {
  const lazy = source.checkpoint.tensors.get(name);
  if (lazy === undefined)
    throw new HalftoneError('FORMAT', `the checkpoint has no tensor ${name}`, { where: WHERE, details: { name } });
  return lazy;
}

function toFloats(stored: PackedTensor, out?: Float32Array): Float32Array {
  return isGgmlType(stored.dtype)
    ? decodeGgml(stored as PackedTensor<GgmlType>, out)
    : decode(stored as PackedTensor<DType>, out);
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(elementCount([rows, columns]));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) out[column * rows + row] = values[row * columns + column];
  }
  return out;
}

function checkShape(name: string, actual: Shape, expected: Shape): void {
  if (!sameShape(actual, expected)) {
    throw new HalftoneError('SHAPE', `the replacement of ${name} is [${actual}], expected [${expected}]`, {
      where: WHERE,
      details: { name, actual, expected },
    });
  }
}

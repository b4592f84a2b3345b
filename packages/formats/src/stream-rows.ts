import {
  DTYPES,
  elementCount,
  GGML_TYPES,
  isGgmlType,
  type LazyTensor,
  type PackedTensor,
  type ReadOptions,
  type StorageType,
} from '@halftone/tensor';

export interface StreamRowsOptions extends ReadOptions {
  /** Bytes to read at once, one row at least. Default 16 MiB. */
  readonly maxBytes?: number;
}

/** Reads a tensor in consecutive row ranges, so that no more than about `maxBytes` are in memory. */
export async function* streamRows<T extends StorageType>(
  tensor: LazyTensor<T>,
  options: StreamRowsOptions = {},
): AsyncGenerator<PackedTensor<T>> {
  const { maxBytes = 16 * 1024 * 1024, signal } = options;
  const rows = tensor.shape[0] ?? 1;
  if (rows === 0) return;
  const { elements, bytes } = rowUnit(tensor);
  // Ranges of a vector count elements: a unit is then as many as make whole bytes and blocks.
  const unit = tensor.shape.length <= 1 ? elements : 1;
  const step = Math.max(1, Math.floor(maxBytes / Math.max(bytes, 1))) * unit;
  for (let start = 0; start < rows; start += step) {
    yield await tensor.read({ start, end: Math.min(rows, start + step) }, { signal });
  }
}

function rowUnit({ dtype, shape }: LazyTensor): { elements: number; bytes: number } {
  const block = isGgmlType(dtype) ? GGML_TYPES[dtype] : { blockSize: 8, blockBytes: DTYPES[dtype].bits };
  if (shape.length <= 1) return { elements: block.blockSize, bytes: block.blockBytes };
  const elements = elementCount(shape.slice(1));
  return { elements, bytes: (elements / block.blockSize) * block.blockBytes };
}

import { dtypeInfo } from './dtype.js';
import { expectCount, fail } from './error.js';
import { GGML_TYPES, isGgmlType } from './ggml-types.js';
import { columnCount, elementCount } from './shape.js';
import type { PackedTensor, Shape, StorageType } from './types.js';

/**
 * Bytes of one row of `columns` elements, rounded up to whole bytes.
 * Throws `SHAPE` when a ggml row is not whole blocks, `DTYPE` for an unknown type.
 */
export function rowByteLength(dtype: StorageType, columns: number): number {
  if (!isGgmlType(dtype)) return Math.ceil((columns * dtypeInfo('tensor', dtype).bits) / 8);
  const { blockSize, blockBytes } = GGML_TYPES[dtype];
  if (columns % blockSize !== 0) {
    fail('SHAPE', 'tensor', `a row of ${columns} is not whole ${dtype} blocks of ${blockSize}; pad it`);
  }
  return (columns / blockSize) * blockBytes;
}

/** Bytes of a packed tensor: every row (last axis) starts on a byte. A scalar is one row of one element. */
export function packedByteLength(dtype: StorageType, shape: Shape): number {
  const count = elementCount(shape);
  const columns = columnCount(shape);
  const rowBytes = rowByteLength(dtype, columns);
  return count === 0 ? 0 : (count / columns) * rowBytes;
}

/** Wraps bytes as a packed tensor without copying. Throws `SHAPE` when their number does not fit the shape. */
export function packed<T extends StorageType>(dtype: T, shape: Shape, bytes: Uint8Array): PackedTensor<T> {
  expectCount('tensor', `bytes of ${dtype} [${shape}]`, bytes.byteLength, packedByteLength(dtype, shape));
  return { kind: 'packed', dtype, shape: [...shape], bytes };
}

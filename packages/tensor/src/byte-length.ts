import { DTYPES, isDType } from './dtype.js';
import { HalftoneError } from './error.js';
import { GGML_TYPES, isGgmlType } from './ggml-types.js';
import { elementCount } from './shape.js';
import type { PackedTensor, Shape, StorageType } from './types.js';

/**
 * Bytes of one row of `columns` elements, rounded up to whole bytes.
 * Throws `SHAPE` when a ggml row is not whole blocks, `DTYPE` for an unknown type.
 */
export function rowByteLength(dtype: StorageType, columns: number): number {
  if (isDType(dtype)) return Math.ceil((columns * DTYPES[dtype].bits) / 8);
  if (!isGgmlType(dtype)) {
    throw new HalftoneError('DTYPE', `unknown storage type ${JSON.stringify(dtype)}`, { where: 'tensor', details: { dtype } });
  }
  const { blockSize, blockBytes } = GGML_TYPES[dtype];
  if (columns % blockSize !== 0) {
    throw new HalftoneError(
      'SHAPE',
      `a row of ${columns} elements is not whole ${dtype} blocks of ${blockSize}; choose a type with smaller blocks or pad`,
      { where: 'tensor', details: { dtype, columns, blockSize } },
    );
  }
  return (columns / blockSize) * blockBytes;
}

/** Bytes of a packed tensor: every row (last axis) starts on a byte. A scalar is one row of one element. */
export function packedByteLength(dtype: StorageType, shape: Shape): number {
  const count = elementCount(shape);
  const columns = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  const rowBytes = rowByteLength(dtype, columns);
  const byteLength = columns === 0 ? 0 : (count / columns) * rowBytes;
  if (!Number.isSafeInteger(byteLength)) {
    throw new HalftoneError('SHAPE', `${dtype} [${shape}] is larger than 2^53 - 1 bytes`, {
      where: 'tensor',
      details: { dtype, shape },
    });
  }
  return byteLength;
}

/** Wraps bytes as a packed tensor without copying. Throws `SHAPE` when their number does not fit the shape. */
export function packed<T extends StorageType>(dtype: T, shape: Shape, bytes: Uint8Array): PackedTensor<T> {
  const expected = packedByteLength(dtype, shape);
  if (bytes.byteLength !== expected) {
    throw new HalftoneError('SHAPE', `${dtype} [${shape}] takes ${expected} bytes but ${bytes.byteLength} are given`, {
      where: 'tensor',
      details: { dtype, shape, expected, actual: bytes.byteLength },
    });
  }
  return { kind: 'packed', dtype, shape: [...shape], bytes };
}

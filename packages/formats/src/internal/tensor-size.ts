import {
  DTYPES,
  elementCount,
  GGML_TYPES,
  HalftoneError,
  isGgmlType,
  isHalftoneError,
  type Shape,
  type StorageType,
} from '@halftone/tensor';

/** Elements of a named tensor. Throws `SHAPE` with its name when the product of the shape is too large. */
export function tensorElements(name: string, shape: Shape, where: string): number {
  try {
    return elementCount(shape, where);
  } catch (cause) {
    if (!isHalftoneError(cause)) throw cause;
    throw new HalftoneError('SHAPE', `${name}: shape [${shape}] has too many elements; the file is damaged`, {
      where,
      details: { name, shape },
      cause,
    });
  }
}

/** Bytes of a tensor as ggml stores it. Throws `SHAPE` when rows are not whole blocks or the size exceeds 2^53 - 1. */
export function ggmlTensorBytes(name: string, dtype: StorageType, shape: Shape): number {
  const count = tensorElements(name, shape, 'gguf');
  const columns = shape[shape.length - 1] ?? 1;
  const { blockSize, blockBytes } = isGgmlType(dtype)
    ? GGML_TYPES[dtype]
    : { blockSize: 1, blockBytes: DTYPES[dtype].bits / 8 };
  if (columns % blockSize !== 0) {
    throw new HalftoneError(
      'SHAPE',
      `${name}: rows of ${columns} elements are not whole ${dtype} blocks of ${blockSize}`,
      {
        where: 'gguf',
        details: { name, dtype, shape, blockSize },
      },
    );
  }
  const bytes = (count / blockSize) * blockBytes;
  if (!Number.isSafeInteger(bytes)) {
    throw new HalftoneError('SHAPE', `${name}: shape [${shape}] takes more than 2^53 - 1 bytes`, {
      where: 'gguf',
      details: { name, shape },
    });
  }
  return bytes;
}

export function alignUp(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}

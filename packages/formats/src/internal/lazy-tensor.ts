import {
  type ByteSource,
  DTYPES,
  elementCount,
  GGML_TYPES,
  HalftoneError,
  isGgmlType,
  type LazyTensor,
  type PackedTensor,
  type RowRange,
  type Shape,
  type StorageType,
  throwIfAborted,
} from '@halftone/tensor';
import { repackRows } from './bit-rows.js';
import { delivered } from './byte-range.js';

export interface StoredTensor {
  readonly source: ByteSource;
  /** The format's name, for messages. */
  readonly where: string;
  readonly name: string;
  readonly dtype: StorageType;
  readonly shape: Shape;
  /** Of the first byte, in the source. */
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * A tensor in a file whose elements lie row-major and dense: rows of sub-byte elements follow each other without padding.
 * `read` takes only the bytes of the rows asked for.
 */
export function lazyTensor(stored: StoredTensor): LazyTensor {
  const { source, where, name, dtype, offset, byteLength } = stored;
  const shape = Object.freeze([...stored.shape]);
  return {
    kind: 'lazy',
    name,
    dtype,
    shape,
    byteLength,
    async read(rows, options): Promise<PackedTensor> {
      throwIfAborted(options?.signal, where);
      const { start, end } = checkRows(rows, shape, where, name);
      const rowElements = elementCount(shape.slice(1));
      const part = shape.length === 0 ? shape : [end - start, ...shape.slice(1)];
      const first = start * rowElements;
      const last = end * rowElements;
      if (isGgmlType(dtype)) {
        const { blockSize, blockBytes } = GGML_TYPES[dtype];
        if (first % blockSize !== 0 || last % blockSize !== 0) {
          throw new HalftoneError(
            'RANGE',
            `${name}: rows [${start}, ${end}) cut a ${dtype} block of ${blockSize} elements`,
            {
              where,
              details: { name, start, end, blockSize },
            },
          );
        }
        const from = offset + (first / blockSize) * blockBytes;
        const bytes = await source.read(from, from + ((last - first) / blockSize) * blockBytes, options);
        return { kind: 'packed', dtype, shape: part, bytes };
      }
      const { bits } = DTYPES[dtype];
      const from = Math.floor((first * bits) / 8);
      const columns = part[part.length - 1] ?? 1;
      const skip = first * bits - from * 8;
      const whole = skip === 0 && (columns * bits) % 8 === 0;
      const readOptions = whole ? options : { signal: options?.signal };
      const bytes = await source.read(offset + from, offset + Math.ceil((last * bits) / 8), readOptions);
      if (whole) return { kind: 'packed', dtype, shape: part, bytes };
      const lines = columns === 0 ? 0 : (last - first) / columns;
      const rowBytes = repackRows(bytes, skip, columns * bits, lines);
      return { kind: 'packed', dtype, shape: part, bytes: delivered(rowBytes, options, where, name) };
    },
  };
}

/** The range to read: all rows by default. Throws `RANGE` when it does not lie inside the tensor. */
export function checkRows(rows: RowRange | undefined, shape: Shape, where: string, name: string): RowRange {
  const count = shape[0] ?? 1;
  if (rows === undefined) return { start: 0, end: count };
  const { start, end } = rows;
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start > end || end > count) {
    throw new HalftoneError('RANGE', `${name}: rows [${start}, ${end}) are outside its ${count} rows`, {
      where,
      details: { name, start, end, count },
    });
  }
  if (shape.length === 0 && start === end) {
    throw new HalftoneError('RANGE', `${name}: a scalar has one row; read [0, 1)`, {
      where,
      details: { name, start, end },
    });
  }
  return { start, end };
}

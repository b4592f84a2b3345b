import {
  elementCount,
  GGML_TYPES,
  type GgmlType,
  HalftoneError,
  type PackedTensor,
  packedByteLength,
  type QuantizedTensor,
} from '@halftone/tensor';
import type { BlockLayout } from './block-layout.js';
import { blockFields, emptyParts, fromParts, toParts } from './block-parts.js';
import { matchScheme } from './quantized-parts.js';

/** One ggml block type: bytes to values, and bytes to parts and back. */
export interface GgmlCodec<T extends GgmlType = GgmlType> {
  readonly type: T;
  /**
   * Row-major values. `out` has as many elements and is returned.
   * Bit-identical to ggml's `dequantize_row_*` and to `dequantize(unpack(packed))`; only where MXFP4 and NVFP4 hold a minus
   * zero, ggml gives +0 and `dequantize` -0. O(elements), no other allocation.
   * Throws `DTYPE` for another type, `SHAPE` for bytes or an `out` that do not fit the shape.
   */
  decode(packed: PackedTensor, out?: Float32Array): Float32Array;
  /**
   * The parts of a weight `[out, in]`, as listed at `GGML_SCHEMES`: codes one a byte (one a 16-bit word above 8 bits), f16 or
   * 8-bit float scales, and the tables of lookup grids.
   * Throws `DTYPE` and `SHAPE` as `decode` does, `SHAPE` when the tensor is not a matrix, and `RANGE` for scale bytes that
   * ggml reads as a number and the 8-bit float as NaN (0xFF in MXFP4 and NVFP4).
   */
  unpack(packed: PackedTensor): QuantizedTensor;
  /**
   * The exact inverse of `unpack`; it never rounds. The bytes are those that were unpacked, but for bytes that no encoder
   * writes and that have a twin of the same value: 13 of 256 in TQ1_0, the sign bit and 0x7F in scales of NVFP4.
   * Takes any tensor of the same grid and granularity whose scales (and offsets) are values that the blocks hold exactly.
   * Throws `UNSUPPORTED` for another scheme or for parts that blocks cannot hold, `SHAPE` for sizes that do not fit, and
   * `RANGE` for a code outside the grid, a scale that would be rounded, another codebook than ggml's, or codes that exclude
   * each other: an odd number of minus signs among 8 elements (IQ2_XXS, IQ2_XS, IQ3_XXS), different signs of the eighths in a
   * group of 32 (IQ1_S).
   */
  pack(q: QuantizedTensor): PackedTensor<T>;
}

/** Joins a block layout with the checks and the tensor forms that all types share. */
export function ggmlCodec<T extends GgmlType>(type: T, layout: BlockLayout): GgmlCodec<T> {
  const where = `ggml ${type}`;
  const { blockSize } = GGML_TYPES[type];
  const fields = blockFields(type, layout);

  const checked = (packed: PackedTensor): number => {
    if (packed.dtype !== type) {
      throw new HalftoneError('DTYPE', `the tensor is ${packed.dtype}, not ${type}; use the codec of its type`, {
        where,
      });
    }
    const count = elementCount(packed.shape, where);
    const expected = packedByteLength(type, packed.shape);
    if (packed.bytes.length !== expected) {
      throw new HalftoneError(
        'SHAPE',
        `[${packed.shape}] takes ${expected} bytes, the tensor has ${packed.bytes.length}`,
        {
          where,
          details: { shape: packed.shape, expected, actual: packed.bytes.length },
        },
      );
    }
    return count;
  };

  return {
    type,

    decode(packed, out) {
      const count = checked(packed);
      const values = out ?? new Float32Array(count);
      if (values.length !== count) {
        throw new HalftoneError('SHAPE', `out has ${values.length} elements, the tensor has ${count}`, { where });
      }
      layout.decode(packed.bytes, count / blockSize, values);
      return values;
    },

    unpack(packed) {
      const count = checked(packed);
      const [rows, columns] = matrixShape(packed.shape, where);
      const parts = emptyParts(fields, count);
      layout.unpack(packed.bytes, count / blockSize, parts);
      return {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: fields.scheme,
        parts: toParts(fields, parts, rows, columns),
      };
    },

    pack(q) {
      const [rows, columns] = matrixShape(q.shape, where);
      const byteLength = packedByteLength(type, q.shape);
      matchScheme(q.scheme, fields.scheme, where);
      const bytes = new Uint8Array(byteLength);
      layout.pack(fromParts(fields, q.parts, rows, columns, where), (rows * columns) / blockSize, bytes);
      return { kind: 'packed', dtype: type, shape: [rows, columns], bytes };
    },
  };
}

function matrixShape(shape: readonly number[], where: string): [rows: number, columns: number] {
  if (shape.length !== 2) {
    throw new HalftoneError('SHAPE', `shape [${shape}] is not a matrix [out, in]; reshape it first`, {
      where,
      details: { shape },
    });
  }
  return [shape[0], shape[1]];
}

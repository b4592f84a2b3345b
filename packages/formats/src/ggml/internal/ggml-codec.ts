import {
  elementCount,
  GGML_TYPES,
  type GgmlType,
  HalftoneError,
  type PackedTensor,
  packedByteLength,
  type QuantizedParts,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';
import { GGML_SCALE_SCHEMES, GGML_SCHEMES } from '@halftone/tensor/ggml';
import type { BlockLayout, BlockParts } from './block-layout.js';
import { codesOf, encodedFloats, matchScheme, parameterOf, refuseParts } from './quantized-parts.js';

/** One ggml block type: bytes to values, and bytes to parts and back. */
export interface GgmlCodec<T extends GgmlType = GgmlType> {
  readonly type: T;
  /**
   * Row-major values. `out` has as many elements and is returned.
   * Bit-identical to ggml's `dequantize_row_*` and to `dequantize(unpack(packed))`. O(elements), no other allocation.
   * Throws `DTYPE` for another type, `SHAPE` for bytes or an `out` that do not fit the shape.
   */
  decode(packed: PackedTensor, out?: Float32Array): Float32Array;
  /**
   * The parts of a weight `[out, in]`, as listed at `GGML_SCHEMES`: codes one a byte, f16 scales.
   * Throws `DTYPE` and `SHAPE` as `decode` does, and `SHAPE` when the tensor is not a matrix.
   */
  unpack(packed: PackedTensor): QuantizedTensor;
  /**
   * The exact inverse of `unpack`; it never rounds. Takes any tensor of the same grid and granularity whose scales (and
   * offsets) are values that f16 holds exactly.
   * Throws `UNSUPPORTED` for another scheme or for parts that blocks cannot hold, `SHAPE` for sizes that do not fit,
   * `RANGE` for a code outside the grid or a scale that f16 would round.
   */
  pack(q: QuantizedTensor): PackedTensor<T>;
}

/** Joins a block layout with the checks and the tensor forms that all types share. */
export function ggmlCodec<T extends GgmlType>(type: T, layout: BlockLayout): GgmlCodec<T> {
  const where = `ggml ${type}`;
  const { blockSize } = GGML_TYPES[type];

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
      const parts = emptyParts(type, count);
      layout.unpack(packed.bytes, count / blockSize, parts);
      return {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: GGML_SCHEMES[type],
        parts: toParts(type, parts, rows, columns),
      };
    },

    pack(q) {
      const [rows, columns] = matrixShape(q.shape, where);
      const byteLength = packedByteLength(type, q.shape);
      matchScheme(q.scheme, GGML_SCHEMES[type], where);
      refuseParts(q.parts, where);
      const bytes = new Uint8Array(byteLength);
      layout.pack(fromParts(type, q.parts, rows, columns, where), (rows * columns) / blockSize, bytes);
      return { kind: 'packed', dtype: type, shape: [rows, columns], bytes };
    },
  };
}

/** What a type's blocks hold. */
function fieldsOf(type: GgmlType): {
  signed: boolean;
  hasOffsets: boolean;
  groupSize: number;
  scaleScheme: (typeof GGML_SCALE_SCHEMES)[keyof typeof GGML_SCALE_SCHEMES] | undefined;
} {
  const { grid, granularity } = GGML_SCHEMES[type];
  const scaleScheme =
    type in GGML_SCALE_SCHEMES ? GGML_SCALE_SCHEMES[type as keyof typeof GGML_SCALE_SCHEMES] : undefined;
  return {
    signed: grid.type === 'affine' && grid.signed,
    hasOffsets: grid.type === 'affine' && !grid.symmetric,
    groupSize: granularity.type === 'group' ? granularity.size : GGML_TYPES[type].blockSize,
    scaleScheme,
  };
}

function emptyParts(type: GgmlType, count: number): BlockParts {
  const { signed, hasOffsets, groupSize, scaleScheme } = fieldsOf(type);
  const blocks = count / GGML_TYPES[type].blockSize;
  const groups = scaleScheme === undefined ? 0 : count / groupSize;
  const signedScales = scaleScheme?.grid.type === 'affine' && scaleScheme.grid.signed;
  return {
    codes: signed ? new Int8Array(count) : new Uint8Array(count),
    scales: new Uint16Array(blocks),
    offsets: new Uint16Array(hasOffsets ? blocks : 0),
    scaleCodes: signedScales ? new Int8Array(groups) : new Uint8Array(groups),
    offsetCodes: new Uint8Array(hasOffsets ? groups : 0),
  };
}

function toParts(type: GgmlType, parts: BlockParts, rows: number, columns: number): QuantizedParts {
  const { hasOffsets, groupSize, scaleScheme } = fieldsOf(type);
  const shape = [rows, columns / groupSize];
  const superShape = [rows, columns / GGML_TYPES[type].blockSize];
  const parameter = (words: Uint16Array, codes: Int8Array | Uint8Array): QuantizedParts['scales'] => {
    const floats = encodedFloats(words, superShape);
    if (scaleScheme === undefined) return floats;
    return { kind: 'quantized', shape, scheme: scaleScheme, parts: { codes: tensor(codes, shape), scales: floats } };
  };
  return {
    codes: tensor(parts.codes, [rows, columns]),
    scales: parameter(parts.scales, parts.scaleCodes),
    ...(hasOffsets ? { offsets: parameter(parts.offsets, parts.offsetCodes) } : {}),
  };
}

function fromParts(type: GgmlType, parts: QuantizedParts, rows: number, columns: number, where: string): BlockParts {
  const { hasOffsets, groupSize, scaleScheme } = fieldsOf(type);
  const scheme = GGML_SCHEMES[type];
  const shape = [rows, columns / groupSize];
  const superShape = [rows, columns / GGML_TYPES[type].blockSize];
  const scales = parameterOf(parts.scales, 'scales', scaleScheme, shape, superShape, where);
  const offsets = hasOffsets ? parameterOf(parts.offsets, 'offsets', scaleScheme, shape, superShape, where) : undefined;
  if (!hasOffsets && parts.offsets !== undefined) {
    throw new HalftoneError('UNSUPPORTED', `${type} blocks hold no offsets; use Q4_1, Q5_1 or a K type that has them`, {
      where,
    });
  }
  return {
    codes: codesOf(parts.codes, scheme.grid, [rows, columns], 'codes', where),
    scales: scales.words,
    scaleCodes: scales.codes,
    offsets: offsets?.words ?? new Uint16Array(0),
    offsetCodes: offsets?.codes ?? new Uint8Array(0),
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

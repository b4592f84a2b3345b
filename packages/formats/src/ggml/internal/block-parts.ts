/** The parts of a quantized tensor and the flat arrays of its blocks, one from the other, as the schemes of a type say. */
import {
  type DType,
  GGML_TYPES,
  type GgmlType,
  HalftoneError,
  type PackedTensor,
  type QuantizedParts,
  type Scheme,
  type Tensor,
  tensor,
} from '@halftone/tensor';
import { GGML_SCALE_SCHEMES, GGML_SCHEMES, type GgmlSuperBlockType } from '@halftone/tensor/ggml';
import type { BlockLayout, BlockParts } from './block-layout.js';
import { codesOf, gridCodes, matchCodebook, parameterOf, refuseParts } from './quantized-parts.js';

/** What a type's blocks hold. */
export interface BlockFields {
  readonly type: GgmlType;
  readonly scheme: Scheme;
  readonly hasOffsets: boolean;
  readonly hasSigns: boolean;
  /** Elements of a code. */
  readonly vectorLength: number;
  /** Elements of a group. */
  readonly groupSize: number;
  /** Elements that share a stored float: the block where groups have scales of their own, else the group. */
  readonly floatSize: number;
  readonly floatType: DType;
  /** Scheme of the scales (and offsets) of the groups, where they are codes. */
  readonly scaleScheme: Scheme | undefined;
  /** Tables of lookups; each call makes a new one, which belongs to the caller. */
  readonly codebook: () => Tensor<Float32Array> | undefined;
  readonly scaleCodebook: () => Tensor<Float32Array> | undefined;
}

export function blockFields(type: GgmlType, layout: BlockLayout): BlockFields {
  const scheme = GGML_SCHEMES[type];
  const { grid, granularity } = scheme;
  const { blockSize } = GGML_TYPES[type];
  const groupSize = granularity.type === 'group' ? granularity.size : blockSize;
  const superBlockType = type in GGML_SCALE_SCHEMES ? (type as GgmlSuperBlockType) : undefined;
  const scaleScheme = superBlockType && GGML_SCALE_SCHEMES[superBlockType];
  return {
    type,
    scheme,
    hasOffsets: grid.type === 'affine' && !grid.symmetric,
    hasSigns: grid.type === 'lookup' && grid.signs === true,
    vectorLength: grid.type === 'lookup' ? grid.vectorLength : 1,
    groupSize,
    floatSize: scaleScheme === undefined ? groupSize : blockSize,
    floatType: layout.scaleType ?? 'f16',
    scaleScheme,
    codebook: () => layout.codebook?.(type),
    scaleCodebook: () => superBlockType && layout.scaleCodebook?.(superBlockType),
  };
}

export function emptyParts(fields: BlockFields, count: number): BlockParts {
  const { scheme, hasOffsets, hasSigns, scaleScheme } = fields;
  const floats = count / fields.floatSize;
  const words = (length: number) => (fields.floatType === 'f16' ? new Uint16Array(length) : new Uint8Array(length));
  const groupCodes = (used: boolean) =>
    scaleScheme === undefined || !used ? new Uint8Array(0) : gridCodes(scaleScheme.grid, count / fields.groupSize);
  return {
    codes: gridCodes(scheme.grid, count / fields.vectorLength),
    signs: new Uint8Array(hasSigns ? count : 0),
    scales: words(floats),
    offsets: words(hasOffsets ? floats : 0),
    scaleCodes: groupCodes(true),
    offsetCodes: groupCodes(hasOffsets),
  };
}

export function toParts(fields: BlockFields, parts: BlockParts, rows: number, columns: number): QuantizedParts {
  const { scaleScheme, floatType } = fields;
  const codebook = fields.codebook();
  const shape = [rows, columns / fields.groupSize];
  const parameter = (words: Uint16Array | Uint8Array, codes: BlockParts['scaleCodes']): QuantizedParts['scales'] => {
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    const floats: PackedTensor = { kind: 'packed', dtype: floatType, shape: [rows, columns / fields.floatSize], bytes };
    if (scaleScheme === undefined) return floats;
    const table = fields.scaleCodebook();
    const nested = { codes: tensor(codes, shape), scales: floats, ...(table && { codebook: table }) };
    return { kind: 'quantized', shape, scheme: scaleScheme, parts: nested };
  };
  return {
    codes: tensor(parts.codes, [rows, columns / fields.vectorLength]),
    scales: parameter(parts.scales, parts.scaleCodes),
    ...(fields.hasOffsets && { offsets: parameter(parts.offsets, parts.offsetCodes) }),
    ...(codebook && { codebook }),
    ...(fields.hasSigns && { signs: tensor(parts.signs, [rows, columns]) }),
  };
}

/** Throws `UNSUPPORTED`, `SHAPE` and `RANGE` for parts that the blocks cannot hold. */
export function fromParts(
  fields: BlockFields,
  parts: QuantizedParts,
  rows: number,
  columns: number,
  where: string,
): BlockParts {
  const { type, scheme, hasOffsets, hasSigns } = fields;
  refuseParts(parts, scheme.grid, where);
  if (!hasOffsets && parts.offsets !== undefined) {
    throw new HalftoneError('UNSUPPORTED', `${type} blocks hold no offsets; use Q4_1, Q5_1 or a K type that has them`, {
      where,
    });
  }
  const shape = [rows, columns / fields.groupSize];
  const floatShape = [rows, columns / fields.floatSize];
  const entries = matchCodebook(parts.codebook, fields.codebook(), 'codebook', where);
  const scales = parameterOf(parts.scales, 'scales', fields, shape, floatShape, where);
  const offsets = hasOffsets ? parameterOf(parts.offsets, 'offsets', fields, shape, floatShape, where) : undefined;
  return {
    codes: codesOf(parts.codes, scheme.grid, entries, [rows, columns / fields.vectorLength], 'codes', where),
    signs: hasSigns ? signsOf(parts, [rows, columns], where) : new Uint8Array(0),
    scales: scales.words,
    scaleCodes: scales.codes,
    offsets: offsets?.words ?? new Uint16Array(0),
    offsetCodes: offsets?.codes ?? new Uint8Array(0),
  };
}

function signsOf({ signs }: QuantizedParts, shape: readonly number[], where: string): Uint8Array {
  if (signs === undefined) throw new HalftoneError('SHAPE', 'the tensor has no signs', { where });
  const bit = { type: 'affine', bits: 1, signed: false, symmetric: true } as const;
  return codesOf(signs, bit, undefined, shape, 'signs', where) as Uint8Array;
}

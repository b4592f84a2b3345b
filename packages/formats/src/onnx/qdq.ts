/**
 * Weights of ONNX's DequantizeLinear: `(code - zero) * scale`, with a scale for the tensor, for each row, or (from operator set 21
 * on) for each group of columns. Source: onnx/docs/Operators.md, DequantizeLinear 21.
 */
import {
  type DType,
  HalftoneError,
  type PackedTensor,
  packCodes,
  type QuantizedTensor,
  type Scheme,
  type Shape,
} from '@halftone/tensor';
import { affineWeight, exactFloats, integerZeros } from '../layouts/internal/affine-weight.js';

const WHERE = 'onnx-qdq';

/** How a weight will lie before a DequantizeLinear node: known from its scheme and shape alone. */
export interface QdqForm {
  /** Of the codes and zero points: 4 or 8 bits, signed where there are no zeros. */
  readonly dtype: 'i4' | 'u4' | 'i8' | 'u8';
  /** `[out, in]` */
  readonly shape: readonly [number, number];
  /** Columns that share a scale; 0: one scale for each row. */
  readonly blockSize: number;
  /** `[out]`, or `[out, ceil(in / blockSize)]` */
  readonly scaleShape: Shape;
  readonly zeroPoints: boolean;
}

/** The inputs of a DequantizeLinear node. Codes below 8 bits run on from row to row, as ONNX has them. */
export interface QdqWeight {
  readonly form: QdqForm;
  readonly codes: PackedTensor;
  readonly scales: PackedTensor<'f32'>;
  readonly zeroPoints?: PackedTensor;
}

/** The form that `packQdq` gives a weight. Throws `UNSUPPORTED` for grids that are not integers of at most 8 bits. */
export function qdqForm(scheme: Scheme, shape: Shape): QdqForm {
  const { grid, granularity } = scheme;
  const [rows, columns] = shape;
  if (grid.type !== 'affine' || grid.bits > 8) {
    return refuse(scheme, 'DequantizeLinear holds integers of up to 8 bits; decode and quantize again');
  }
  if (rows === undefined || columns === undefined || shape.length !== 2) {
    return refuse(scheme, `shape [${shape}] is not a matrix [out, in]`);
  }
  const signed = grid.symmetric && grid.signed;
  const bits = grid.bits <= 4 ? 4 : 8;
  const blockSize = granularity.type === 'group' && granularity.size < columns ? granularity.size : 0;
  return {
    dtype: `${signed ? 'i' : 'u'}${bits}`,
    shape: [rows, columns],
    blockSize,
    scaleShape: blockSize === 0 ? [rows] : [rows, Math.ceil(columns / blockSize)],
    zeroPoints: !signed,
  };
}

/**
 * Packs a quantized weight `[out, in]` for a DequantizeLinear node, exactly. Throws `UNSUPPORTED` with the reason for other grids,
 * group indices, offsets, zeros that are not codes, and scales that are not float32.
 */
export function packQdq(q: QuantizedTensor): QdqWeight {
  const form = qdqForm(q.scheme, q.shape);
  const weight = affineWeight(q, WHERE);
  if (weight.groupIndex !== undefined) {
    return refuse(q.scheme, 'DequantizeLinear has consecutive groups; undo the column order first');
  }
  const zeros = integerZeros(weight, WHERE);
  // Signed codes have no zeros of their own: the middle of the unsigned ones.
  const shift = form.zeroPoints ? 0 : 2 ** (weight.bits - 1);
  const codes = Int16Array.from(weight.codes, (code) => code - shift);
  return {
    form,
    codes: dense(codes, form.dtype, form.shape),
    scales: exactFloats(weight.scales, ['f32'], form.scaleShape, 'scales', WHERE),
    ...(form.zeroPoints ? { zeroPoints: dense(zeros, form.dtype, form.scaleShape) } : {}),
  };
}

function dense(codes: ArrayLike<number>, dtype: QdqForm['dtype'], shape: Shape): PackedTensor {
  const { bytes } = packCodes(codes, dtype.endsWith('4') ? 4 : 8, dtype.startsWith('i'), [codes.length]);
  return { kind: 'packed', dtype: dtype as DType, shape, bytes };
}

function refuse(scheme: Scheme, reason: string): never {
  throw new HalftoneError('UNSUPPORTED', `scheme ${scheme.name}: ${reason}`, { where: WHERE, details: { scheme } });
}

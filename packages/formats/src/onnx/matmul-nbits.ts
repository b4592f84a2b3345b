/**
 * Weights of ONNX Runtime's MatMulNBits: `Y = A * ((code - zero) * scale)^T`, blocks of 16, 32, 64 ... columns along the input.
 * Source: ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits version 1.
 */
import {
  HalftoneError,
  type PackedTensor,
  packCodes,
  type QuantizedTensor,
  type Scheme,
  type Shape,
  unpackCodes,
} from '@halftone/tensor';
import {
  type AffineWeight,
  affineScheme,
  affineTensor,
  affineWeight,
  exactFloats,
  integerZeros,
} from '../layouts/internal/affine-weight.js';

const WHERE = 'matmul-nbits';
const SMALLEST_BLOCK = 16;
/** The largest that ONNX Runtime's CPU kernels multiply without decoding the weight first. */
const LARGEST_BLOCK = 256;
const ROW_BLOCK = 128;

/** How a weight will lie in a MatMulNBits node: known from its scheme and shape alone. */
export interface MatMulNBitsForm {
  /** Output features. */
  readonly N: number;
  /** Input features. */
  readonly K: number;
  /** 2, 4 or 8. Codes of other widths go into the next wider ones. */
  readonly bits: number;
  /** Columns that share a scale, a power of two from 16. Wider groups repeat their scale. */
  readonly blockSize: number;
  /** Blocks of a row; the last may be padded. */
  readonly blocks: number;
  /** False: all zeros are `2^(bits - 1)`, the operator's default. */
  readonly zeroPoints: boolean;
}

/** The inputs `B`, `scales` and `zero_points` of a MatMulNBits node. */
export interface MatMulNBitsWeight {
  readonly form: MatMulNBitsForm;
  /** `[N, blocks, blockSize * bits / 8]`, codes low-first along the input. */
  readonly B: PackedTensor;
  /** `[N * blocks]`, of the type of the activations. */
  readonly scales: PackedTensor<'f32' | 'f16'>;
  /** `[N * ceil(blocks * bits / 8)]`, low-first, each row starts on a byte. */
  readonly zeroPoints?: PackedTensor;
}

/**
 * The form that `packMatMulNBits` gives a weight. Throws `UNSUPPORTED` for grids that are not integers of at most 8 bits and
 * for groups that are not made of blocks.
 */
export function matMulNBitsForm(scheme: Scheme, shape: Shape): MatMulNBitsForm {
  const { grid, granularity } = scheme;
  if (grid.type !== 'affine' || grid.bits > 8) {
    return refuse(scheme, 'MatMulNBits holds integers of up to 8 bits; decode and quantize again');
  }
  const [N, K] = shape;
  if (N === undefined || K === undefined || shape.length !== 2 || N < 1 || K < 1) {
    return refuse(scheme, `MatMulNBits multiplies by a matrix [out, in] with elements, not by [${shape}]`);
  }
  const bits = grid.bits <= 2 ? 2 : grid.bits <= 4 ? 4 : 8;
  const group = granularity.type === 'group' && granularity.size < K ? granularity.size : 0;
  const blockSize = group === 0 ? rowBlock(K, granularity.type === 'group' ? granularity.size : 0) : groupBlock(group);
  if (blockSize < SMALLEST_BLOCK) {
    return refuse(scheme, `groups of ${group} are not made of blocks of 16, 32, 64 ...; quantize in groups of 32`);
  }
  const ownZeros = !(grid.symmetric && grid.signed && grid.bits === bits);
  return { N, K, bits, blockSize, blocks: Math.ceil(K / blockSize), zeroPoints: ownZeros };
}

/** One scale a row: blocks of the group's own size where that is one, else of at most 128 columns. */
function rowBlock(columns: number, group: number): number {
  if (group > 0 && groupBlock(group) === group) return group;
  let size = SMALLEST_BLOCK;
  while (size < ROW_BLOCK && size < columns) size *= 2;
  return size;
}

/** The largest power of two that divides the group, up to 256. */
function groupBlock(group: number): number {
  let size = 1;
  while (size < LARGEST_BLOCK && group % (2 * size) === 0) size *= 2;
  return size;
}

/**
 * Packs a quantized weight `[out, in]` for a MatMulNBits node, exactly: the operator's values are those of `dequantize`.
 *
 * `scaleDtype` is the type of the node's activations, default `f32`. Throws `UNSUPPORTED` with the reason for other grids, for
 * groups that are not made of blocks, for group indices, offsets, zeros that are not codes, and scales that `scaleDtype` cannot hold.
 */
export function packMatMulNBits(
  q: QuantizedTensor,
  options: { readonly scaleDtype?: 'f32' | 'f16' } = {},
): MatMulNBitsWeight {
  const form = matMulNBitsForm(q.scheme, q.shape);
  const weight = affineWeight(q, WHERE);
  if (weight.groupIndex !== undefined) {
    return refuse(
      q.scheme,
      'MatMulNBits has consecutive groups (its g_idx is deprecated); undo the column order first',
    );
  }
  const zeros = integerZeros(weight, WHERE);
  const { N, blocks, bits } = form;
  const scales = spreadGroups(weight, form, weight.scales, new Float32Array(N * blocks));
  const zeroPoints = spreadGroups(weight, form, zeros, new Uint8Array(N * blocks));
  return {
    form,
    B: packBlocks(weight.codes, zeroPoints, form),
    scales: exactFloats(scales, [options.scaleDtype ?? 'f32'], [N * blocks], 'scales', WHERE),
    ...(form.zeroPoints ? { zeroPoints: asBytes(packCodes(zeroPoints, bits, false, [N, blocks])) } : {}),
  };
}

/** A value for each block from one for each group. */
function spreadGroups<T extends Float32Array | Uint8Array>(
  { groups, groupSize }: AffineWeight,
  { N, blocks, blockSize }: MatMulNBitsForm,
  values: T,
  out: T,
): T {
  for (let row = 0, at = 0; row < N; row++) {
    for (let block = 0; block < blocks; block++, at++) {
      out[at] = values[row * groups + Math.floor((block * blockSize) / groupSize)] as number;
    }
  }
  return out;
}

/** The last block of a row is filled up with codes of zero. */
function packBlocks(
  codes: ArrayLike<number>,
  zeros: Uint8Array,
  { N, K, bits, blockSize, blocks }: MatMulNBitsForm,
): PackedTensor {
  const padded = new Uint8Array(N * blocks * blockSize);
  for (let row = 0; row < N; row++) {
    const start = row * blocks * blockSize;
    for (let column = 0; column < K; column++) padded[start + column] = codes[row * K + column] as number;
    padded.fill(zeros[(row + 1) * blocks - 1] as number, start + K, start + blocks * blockSize);
  }
  const { bytes } = packCodes(padded, bits, false, [N, blocks * blockSize]);
  return { kind: 'packed', dtype: 'u8', shape: [N, blocks, (blockSize * bits) / 8], bytes };
}

function asBytes({ bytes }: PackedTensor): PackedTensor {
  return { kind: 'packed', dtype: 'u8', shape: [bytes.length], bytes };
}

/**
 * The weight `[out, in]` of a MatMulNBits node: signed codes where it has no zero points, else unsigned ones with zeros.
 * Throws `SHAPE` when the parts do not have the bytes that the form asks for.
 */
export function unpackMatMulNBits({ form, B, scales, zeroPoints }: MatMulNBitsWeight): QuantizedTensor {
  const { N, K, bits, blockSize, blocks } = form;
  const columns = blocks * blockSize;
  expectBytes('B', B, (N * columns * bits) / 8);
  expectBytes('scales', scales, N * blocks * (scales.dtype === 'f16' ? 2 : 4));
  const all = unpackRows(B.bytes, bits, [N, columns]);
  const codes = new Uint8Array(N * K);
  for (let row = 0; row < N; row++) codes.set(all.subarray(row * columns, row * columns + K), row * K);
  const stored = { ...scales, shape: [N, blocks] };
  if (zeroPoints === undefined) return signedWeight(form, codes, stored);
  expectBytes('zero_points', zeroPoints, N * Math.ceil((blocks * bits) / 8));
  const zeros = unpackRows(zeroPoints.bytes, bits, [N, blocks]);
  return affineTensor({ rows: N, columns: K, bits, groupSize: blockSize, codes, scales: stored, zeros });
}

function signedWeight(
  { N, K, bits, blockSize }: MatMulNBitsForm,
  codes: Uint8Array,
  scales: PackedTensor,
): QuantizedTensor {
  const half = 2 ** (bits - 1);
  const signed = Int8Array.from(codes, (code) => code - half);
  return {
    kind: 'quantized',
    shape: [N, K],
    scheme: matMulNBitsScheme(bits, blockSize, false),
    parts: { codes: { data: signed, shape: [N, K], stride: [K, 1], offset: 0 }, scales },
  };
}

/** The scheme of `unpackMatMulNBits`. */
export function matMulNBitsScheme(bits: number, blockSize: number, zeroPoints: boolean): Scheme {
  const scheme = affineScheme(bits, blockSize, !zeroPoints);
  return zeroPoints ? scheme : { ...scheme, grid: { type: 'affine', bits, signed: true, symmetric: true } };
}

function unpackRows(bytes: Uint8Array, bits: number, shape: readonly [number, number]): Uint8Array {
  return unpackCodes({ kind: 'packed', dtype: `u${bits}` as 'u4', shape, bytes }) as Uint8Array;
}

function expectBytes(what: string, { bytes }: PackedTensor, count: number): void {
  if (bytes.length === count) return;
  throw new HalftoneError('SHAPE', `${what} has ${bytes.length} bytes, its node asks for ${count}`, {
    where: WHERE,
    details: { what, bytes: bytes.length, expected: count },
  });
}

function refuse(scheme: Scheme, reason: string): never {
  throw new HalftoneError('UNSUPPORTED', `scheme ${scheme.name}: ${reason}`, { where: WHERE, details: { scheme } });
}

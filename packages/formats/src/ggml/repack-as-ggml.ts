import {
  dequantize,
  type GgmlType,
  HalftoneError,
  isHalftoneError,
  type PackedTensor,
  type QuantizedTensor,
  sameShape,
  tensor,
} from '@halftone/tensor';
import { GGML_SCHEMES, ggmlTypeOf } from '@halftone/tensor/ggml';
import { type AffineWeight, affineWeight, exactFloats } from '../layouts/internal/affine-weight.js';
import { decodeGgml, packGgml } from './codecs.js';

const WHERE = 'repackAsGgml';

/**
 * The smallest ggml type that holds exactly the values of a quantized weight `[out, in]`, and its blocks.
 *
 * Tensors of a ggml scheme are packed as that type. Integer weights with groups of a multiple of 32 go to Q4_0, Q5_0 and Q8_0
 * where they are symmetric, to Q4_1 and Q5_1 where the offset of each group is a float16; E2M1 floats with power-of-two scales
 * go to MXFP4. The result is decoded and compared, so what comes out is exact (zeros may change sign).
 *
 * Throws `UNSUPPORTED` with the reason for everything else. O(elements).
 */
export function repackAsGgml(q: QuantizedTensor): PackedTensor<GgmlType> {
  if (ggmlTypeOf(q.scheme) !== undefined) return packGgml(q);
  const { grid } = q.scheme;
  if (grid.type === 'affine') return verified(q, affineBlocks(affineWeight(q, WHERE)));
  if (grid.type === 'float' && grid.exponent === 2 && grid.mantissa === 1) {
    return verified(q, { ...q, scheme: GGML_SCHEMES.MXFP4 });
  }
  if (grid.type === 'lookup' && grid.bits === 4 && grid.vectorLength === 1) {
    return verified(q, { ...q, scheme: GGML_SCHEMES.IQ4_NL });
  }
  return refuse(`no ggml type has the grid of scheme ${q.scheme.name}; decode and quantize again`);
}

function affineBlocks(weight: AffineWeight): QuantizedTensor {
  const { bits, columns, groupSize, symmetric, groupIndex } = weight;
  if (groupIndex !== undefined)
    return refuse('blocks hold consecutive columns, not those of a group index (act-order)');
  if (columns % 32 !== 0) return refuse(`rows of ${columns} columns are not whole blocks of 32`);
  if (groupSize % 32 !== 0 && groupSize < columns) return refuse(`groups of ${groupSize} are not whole blocks of 32`);
  return symmetric ? symmetricBlocks(weight, bits) : offsetBlocks(weight, bits);
}

function symmetricBlocks(weight: AffineWeight, bits: number): QuantizedTensor {
  const type = bits <= 4 ? 'Q4_0' : bits === 5 ? 'Q5_0' : 'Q8_0';
  if (bits > 8) return refuse(`no ggml type has ${bits}-bit integers`);
  const half = 2 ** (bits - 1);
  const codes = Int8Array.from(weight.codes, (code) => code - half);
  return blocks(weight, type, codes, weight.scales);
}

/** `s (q - z) + o` as `d q + m`, with `m = o - z s`. */
function offsetBlocks(weight: AffineWeight, bits: number): QuantizedTensor {
  if (bits > 5) return refuse(`no ggml type has ${bits}-bit integers with offsets`);
  const { scales, zeros, offsets } = weight;
  const minima = scales.map((scale, i) => (offsets?.[i] ?? 0) - scale * (zeros[i] as number));
  return blocks(weight, bits <= 4 ? 'Q4_1' : 'Q5_1', weight.codes as Uint8Array, scales, minima);
}

function blocks(
  weight: AffineWeight,
  type: GgmlType,
  codes: Int8Array | Uint8Array,
  scales: Float32Array,
  offsets?: Float32Array,
): QuantizedTensor {
  const { rows, columns } = weight;
  const shape = [rows, columns / 32];
  const perBlock = (values: Float32Array, what: string) =>
    exactFloats(spread(weight, values), ['f16'], shape, what, WHERE);
  return {
    kind: 'quantized',
    shape: [rows, columns],
    scheme: GGML_SCHEMES[type],
    parts: {
      codes: tensor(codes, [rows, columns]),
      scales: perBlock(scales, 'scales'),
      ...(offsets === undefined ? {} : { offsets: perBlock(offsets, `the minimum of a ${type} block`) }),
    },
  };
}

/** A group's parameter for each of its blocks of 32. */
function spread({ rows, columns, groups, groupSize }: AffineWeight, values: Float32Array): Float32Array {
  const perRow = columns / 32;
  const out = new Float32Array(rows * perRow);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < perRow; block++) {
      out[row * perRow + block] = values[row * groups + Math.floor((block * 32) / groupSize)] as number;
    }
  }
  return out;
}

/** Packs, and compares every value with the original's. */
function verified(original: QuantizedTensor, candidate: QuantizedTensor): PackedTensor<GgmlType> {
  let packed: PackedTensor<GgmlType>;
  try {
    packed = packGgml(candidate);
  } catch (cause) {
    if (!isHalftoneError(cause)) throw cause;
    throw new HalftoneError('UNSUPPORTED', `no ggml type holds it exactly: ${cause.message}`, { where: WHERE, cause });
  }
  const expected = dequantize(original);
  const actual = decodeGgml(packed);
  if (!sameShape(packed.shape, original.shape)) return refuse(`shape [${original.shape}] is not kept by blocks`);
  const same = (a: number, b: number) => a === b || (Number.isNaN(a) && Number.isNaN(b));
  const differs = expected.findIndex((value, i) => !same(value, actual[i]));
  if (differs < 0) return packed;
  return refuse(`${packed.dtype} would change element ${differs} from ${expected[differs]} to ${actual[differs]}`);
}

function refuse(reason: string): never {
  throw new HalftoneError('UNSUPPORTED', reason, { where: WHERE });
}

/** Small floats in groups of a row, each with a scale that is itself a small float: MXFP4, MXFP8, NVFP4. */
import {
  type DType,
  decode,
  elementCount,
  encode,
  type PackedTensor,
  packCodes,
  type QuantizedTensor,
  type Shape,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { refuse } from './refuse.js';

/** The codes of a float grid, low-first in dense rows. Codes of 8 bits may be given signed. */
export function packFloatCodes({ shape, parts }: QuantizedTensor, bits: number): PackedTensor<DType> {
  const mask = 2 ** bits - 1;
  const codes = unpackCodes(parts.codes);
  const unsigned = codes instanceof Uint8Array ? codes : Uint8Array.from(codes, (code) => code & mask);
  return packCodes(unsigned, bits, false, shape);
}

/** The codes of scales in `type`, one for each group. Throws `UNSUPPORTED` for a scale that it does not hold exactly. */
export function exactScaleCodes(
  name: string,
  { parts }: QuantizedTensor,
  type: 'f8_e8m0' | 'f8_e4m3',
  shape: Shape,
  where: string,
): Uint8Array {
  const { scales: part, globalScale = 1 } = parts;
  if (part?.kind === 'packed' && part.dtype === type && globalScale === 1) return part.bytes;
  const given = part === undefined ? undefined : toFloat32(part as Tensor);
  const values = Float32Array.from({ length: elementCount(shape) }, (_, i) => (given?.[i] ?? 1) * globalScale);
  // Powers of two have no sign: a negative scale is found out below.
  const encoded = encode(type === 'f8_e8m0' ? values.map(Math.abs) : values, type, shape);
  const decoded = decode(encoded);
  const misfit = values.findIndex((value, i) => !Object.is(value, decoded[i]));
  if (misfit < 0) return encoded.bytes;
  return refuse('UNSUPPORTED', where, name, `scale ${values[misfit]} of group ${misfit} is not exact as ${type}`);
}

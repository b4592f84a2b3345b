import { unpackBits, packBits } from './bit-packing.js';
import { packed, rowByteLength } from './byte-length.js';
import { DTYPES, isDType, type DType } from './dtype.js';
import { HalftoneError } from './error.js';
import type { Codes } from './quantized.js';
import { elementCount } from './shape.js';
import type { PackedTensor, Shape } from './types.js';
import { contiguousData } from './view.js';

export type CodeArray = Uint8Array | Int8Array | Uint16Array | Int16Array;

/**
 * Codes as one array element each, in row-major order. Packed integers are sign-extended; packed floats of up to 16 bits
 * give their bit patterns. May alias the memory of `codes`: do not write to it.
 */
export function unpackCodes(codes: Codes): CodeArray {
  if (codes.kind !== 'packed') return contiguousData(codes);
  const { dtype, shape } = codes;
  const info = isDType(dtype) ? DTYPES[dtype] : undefined;
  if (info === undefined || info.bits > 16) {
    throw new HalftoneError('DTYPE', `${dtype} elements are not codes of 1 to 16 bits; unpack the blocks first`, {
      where: 'unpackCodes',
      details: { dtype },
    });
  }
  const { bytes } = packed(dtype, shape, codes.bytes);
  const count = elementCount(shape);
  const signed = info.kind === 'int';
  if (info.bits === 16) {
    const words = words16(bytes);
    return signed ? new Int16Array(words.buffer, words.byteOffset, words.length) : words;
  }
  if (info.bits === 8) return signed ? new Int8Array(bytes.buffer, bytes.byteOffset, count) : bytes;
  const columns = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  if ((columns * info.bits) % 8 === 0) return unpackBits(bytes, info.bits, count, signed);
  const out = signed ? new Int8Array(count) : new Uint8Array(count);
  const rowBytes = rowByteLength(dtype, columns);
  for (let start = 0, at = 0; start < count; start += columns, at += rowBytes) {
    unpackBits(bytes.subarray(at, at + rowBytes), info.bits, columns, signed, out.subarray(start, start + columns));
  }
  return out;
}

/**
 * Packs row-major codes of 1 to 8 bits, each row dense and starting on a byte.
 * Throws `RANGE` for a code outside `0 .. 2^bits - 1`, or `-2^(bits-1) .. 2^(bits-1) - 1` when signed.
 */
export function packCodes(codes: ArrayLike<number>, bits: number, signed: boolean, shape: Shape): PackedTensor<DType> {
  const count = elementCount(shape);
  if (codes.length !== count) {
    throw new HalftoneError('SHAPE', `shape [${shape}] has ${count} elements but there are ${codes.length} codes`, {
      where: 'packCodes',
      details: { shape, length: codes.length },
    });
  }
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  for (let i = 0; i < count; i++) {
    const code = codes[i] as number;
    if (!(code >= lowest && code <= highest)) {
      throw new HalftoneError('RANGE', `code ${code} at element ${i} is outside ${lowest} .. ${highest}`, {
        where: 'packCodes',
        details: { code, element: i, bits, signed },
      });
    }
  }
  const columns = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  const dtype = `${signed ? 'i' : 'u'}${bits}` as DType;
  if ((columns * bits) % 8 === 0 || columns === 0) return packed(dtype, shape, packBits(codes, bits));
  const rowBytes = Math.ceil((columns * bits) / 8);
  const bytes = new Uint8Array((count / columns) * rowBytes);
  const row = new Int16Array(columns);
  for (let start = 0, at = 0; start < count; start += columns, at += rowBytes) {
    for (let column = 0; column < columns; column++) row[column] = codes[start + column] as number;
    packBits(row, bits, bytes.subarray(at, at + rowBytes));
  }
  return packed(dtype, shape, bytes);
}

/** Little-endian 16-bit words of bytes at any address: a view where alignment allows, else a copy. */
export function words16(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 1);
}

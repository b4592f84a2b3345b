import { packBits, unpackBits } from './bit-packing.js';
import { packed, packedByteLength } from './byte-length.js';
import { type DType, dtypeInfo, isDType } from './dtype.js';
import { expectCount, fail } from './error.js';
import { carrier, nativeView } from './native-data.js';
import type { Codes } from './quantized.js';
import { columnCount, elementCount } from './shape.js';
import type { PackedTensor, Shape } from './types.js';
import { contiguousData } from './view.js';

export type CodeArray = Uint8Array | Int8Array | Uint16Array | Int16Array;

/**
 * Codes as one array element each, in row-major order. Packed integers are sign-extended; packed floats of up to 16 bits
 * give their bit patterns. May alias the memory of `codes`: do not write to it.
 * Throws `DTYPE` for wider types and ggml blocks.
 */
export function unpackCodes(codes: Codes): CodeArray {
  if (codes.kind !== 'packed') return contiguousData(codes);
  const { dtype, shape, bytes } = packed(codes.dtype, codes.shape, codes.bytes);
  const { bits, kind } = dtypeInfo('unpackCodes', dtype);
  if (bits > 16) fail('DTYPE', 'unpackCodes', `${dtype} elements are not codes`);
  const native = carrier(dtype, bits);
  if (native !== undefined) return nativeView(native, bytes) as CodeArray;
  const count = elementCount(shape);
  const signed = kind === 'int';
  const out = signed ? new Int8Array(count) : new Uint8Array(count);
  forEachRow(bits, shape, (start, end, from, to) => {
    unpackBits(bytes.subarray(from, to), bits, end - start, signed, out.subarray(start, end));
  });
  return out;
}

/**
 * Packs row-major codes of 1 to 8 bits, each row dense and starting on a byte.
 * Throws `RANGE` for a code outside `0 .. 2^bits - 1`, or `-2^(bits-1) .. 2^(bits-1) - 1` when signed.
 */
export function packCodes(codes: ArrayLike<number>, bits: number, signed: boolean, shape: Shape): PackedTensor<DType> {
  const dtype = `${signed ? 'i' : 'u'}${bits}`;
  if (!isDType(dtype) || bits > 8) return fail('RANGE', 'packCodes', `codes of ${bits} bits; 1 to 8 can be packed`);
  const count = elementCount(shape);
  expectCount('packCodes', `codes of shape [${shape}]`, codes.length, count);
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  const words = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const code = codes[i] as number;
    words[i] = code;
    if (!(code >= lowest && code <= highest)) {
      fail('RANGE', 'packCodes', `code ${code} at element ${i} is outside ${lowest} .. ${highest}`);
    }
  }
  const bytes = new Uint8Array(packedByteLength(dtype, shape));
  forEachRow(bits, shape, (start, end, from, to) => {
    packBits(words.subarray(start, end), bits, bytes.subarray(from, to));
  });
  return packed(dtype, shape, bytes);
}

/** Visits elements `[start, end)` and their bytes `[from, to)`, row by row; all at once where rows end on bytes anyway. */
function forEachRow(
  bits: number,
  shape: Shape,
  visit: (start: number, end: number, from: number, to: number) => void,
): void {
  const count = elementCount(shape);
  const columns = columnCount(shape);
  const step = (columns * bits) % 8 === 0 ? count : columns;
  const stepBytes = Math.ceil((step * bits) / 8);
  for (let start = 0, from = 0; start < count; start += step, from += stepBytes) {
    visit(start, start + step, from, from + stepBytes);
  }
}

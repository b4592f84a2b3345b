import { decodeBfloat16 } from './bfloat16.js';
import { packed } from './byte-length.js';
import { unpackCodes, words16 } from './codes.js';
import { DTYPES, isDType, type DType } from './dtype.js';
import { HalftoneError } from './error.js';
import { decodeFloat16 } from './float16.js';
import { SMALL_FLOATS, decodeFloat } from './float-format.js';
import { elementCount } from './shape.js';
import type { PackedTensor } from './types.js';

/**
 * Values of a packed tensor as float32, row-major. Every dtype of at most 24 significant bits is exact;
 * f64, i32, u32, i64 and u64 are rounded to the nearest float32 (64-bit integers through float64; `decodeBigInt` is exact).
 * `out` must have exactly as many elements as the tensor. Reads bytes at any alignment.
 * Throws `SHAPE` when bytes and shape disagree, `DTYPE` for ggml types.
 */
export function decode(tensor: PackedTensor<DType>, out?: Float32Array): Float32Array {
  const { dtype, shape } = tensor;
  if (!isDType(dtype)) {
    throw new HalftoneError('DTYPE', `${String(dtype)} is not an element type; ggml blocks are decoded by @halftone/formats`, {
      where: 'decode',
      details: { dtype },
    });
  }
  const { bytes } = packed(dtype, shape, tensor.bytes);
  const count = elementCount(shape);
  const values = out ?? new Float32Array(count);
  if (values.length !== count) {
    throw new HalftoneError('SHAPE', `out has ${values.length} elements but [${shape}] has ${count}`, { where: 'decode' });
  }
  switch (dtype) {
    case 'bf16':
      decodeBfloat16(words16(bytes), values);
      break;
    case 'f16':
      decodeFloat16(words16(bytes), values);
      break;
    case 'f32':
      new Uint8Array(values.buffer, values.byteOffset, bytes.length).set(bytes);
      break;
    case 'f64':
    case 'i64':
    case 'u64':
    case 'i32':
    case 'u32': {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const read = wideReader(view, dtype);
      for (let i = 0; i < count; i++) values[i] = read(i);
      break;
    }
    case 'bool': {
      for (let i = 0; i < count; i++) values[i] = bytes[i] === 0 ? 0 : 1;
      break;
    }
    default: {
      const codes = unpackCodes(tensor);
      if (DTYPES[dtype].kind !== 'float') values.set(codes);
      else {
        const table = smallFloatTable(dtype as SmallFloat);
        for (let i = 0; i < count; i++) values[i] = table[codes[i] as number] as number;
      }
    }
  }
  return values;
}

/** Exact values of 64-bit integers; a view of the tensor's bytes where alignment allows. Throws `DTYPE` for other types. */
export function decodeBigInt(tensor: PackedTensor<'i64'>): BigInt64Array;
export function decodeBigInt(tensor: PackedTensor<'u64'>): BigUint64Array;
export function decodeBigInt(tensor: PackedTensor<'i64' | 'u64'>): BigInt64Array | BigUint64Array {
  const { dtype, shape } = tensor;
  if (dtype !== 'i64' && dtype !== 'u64') {
    throw new HalftoneError('DTYPE', `${String(dtype)} is not a 64-bit integer type; use decode`, { where: 'decodeBigInt' });
  }
  const { bytes } = packed(dtype, shape, tensor.bytes);
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const Kind = dtype === 'i64' ? BigInt64Array : BigUint64Array;
  return new Kind(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / 8);
}

type SmallFloat = keyof typeof SMALL_FLOATS | 'f8_e8m0';

/** The value of every code of a float type of at most 8 bits. */
export function smallFloatTable(dtype: SmallFloat): Float32Array {
  return Float32Array.from({ length: 1 << DTYPES[dtype].bits }, (_, code) =>
    dtype === 'f8_e8m0' ? (code === 255 ? Number.NaN : 2 ** (code - 127)) : decodeFloat(code, SMALL_FLOATS[dtype]),
  );
}

function wideReader(view: DataView, dtype: 'f64' | 'i64' | 'u64' | 'i32' | 'u32'): (i: number) => number {
  switch (dtype) {
    case 'f64':
      return (i) => view.getFloat64(8 * i, true);
    case 'i64':
      return (i) => Number(view.getBigInt64(8 * i, true));
    case 'u64':
      return (i) => Number(view.getBigUint64(8 * i, true));
    case 'i32':
      return (i) => view.getInt32(4 * i, true);
    case 'u32':
      return (i) => view.getUint32(4 * i, true);
  }
}

import { decodeBfloat16 } from './bfloat16.js';
import { packed } from './byte-length.js';
import { unpackCodes } from './codes.js';
import { type DType, dtypeInfo } from './dtype.js';
import { expectCount } from './error.js';
import { decodeFloat, floatFormatOf } from './float-format.js';
import { decodeFloat16 } from './float16.js';
import { carrier, nativeView } from './native-data.js';
import { elementCount } from './shape.js';
import type { NativeArray, PackedTensor } from './types.js';

/**
 * Values of a packed tensor as float32, row-major. Every dtype of at most 24 significant bits is exact;
 * f64, i32, u32, i64 and u64 are rounded to the nearest float32 (64-bit integers through float64; `nativeData` is exact).
 * `out` must have exactly as many elements as the tensor. Reads bytes at any alignment.
 * Throws `SHAPE` when bytes and shape disagree, `DTYPE` for ggml types.
 */
export function decode(tensor: PackedTensor<DType>, out?: Float32Array): Float32Array {
  const { dtype, shape, bytes } = packed(tensor.dtype, tensor.shape, tensor.bytes);
  const count = elementCount(shape);
  const values = out ?? new Float32Array(count);
  expectCount('decode', `elements of out for [${shape}]`, values.length, count);
  const { bits, kind } = dtypeInfo('decode', dtype);
  const native = carrier(dtype, bits);
  const data = native === undefined ? unpackCodes(tensor) : nativeView(native, bytes);
  if (dtype === 'bf16') decodeBfloat16(data as Uint16Array, values);
  else if (dtype === 'f16') decodeFloat16(data as Uint16Array, values);
  else if (kind === 'float' && bits <= 8) lookUp(data as Uint8Array, smallFloatTable(dtype), values);
  else if (kind === 'bool') for (let i = 0; i < count; i++) values[i] = data[i] === 0 ? 0 : 1;
  else setNumbers(values, data);
  return values;
}

/** Writes the elements as numbers, bigints too. */
export function setNumbers(values: Float32Array, data: NativeArray): void {
  if (typeof data[0] === 'number') values.set(data as Float32Array);
  else for (let i = 0; i < data.length; i++) values[i] = Number(data[i]);
}

function lookUp(codes: Uint8Array, table: Float32Array, values: Float32Array): void {
  for (let i = 0; i < codes.length; i++) values[i] = table[codes[i] as number] as number;
}

function smallFloatTable(dtype: DType): Float32Array {
  const table = new Float32Array(256);
  const value =
    dtype === 'f8_e8m0'
      ? (code: number) => (code === 255 ? NaN : 2 ** (code - 127))
      : (code: number) => decodeFloat(code, floatFormatOf(dtype));
  return table.map((_, code) => value(code));
}

import type { DType } from '@halftone/tensor';

/** Our element type of each `TensorProto.DataType` (onnx.proto) that has one. */
export const ONNX_DATA_TYPES: Readonly<Record<number, DType>> = {
  1: 'f32',
  2: 'u8',
  3: 'i8',
  4: 'u16',
  5: 'i16',
  6: 'i32',
  7: 'i64',
  9: 'bool',
  10: 'f16',
  11: 'f64',
  12: 'u32',
  13: 'u64',
  16: 'bf16',
  17: 'f8_e4m3',
  19: 'f8_e5m2',
  21: 'u4',
  22: 'i4',
  23: 'f4_e2m1',
  24: 'f8_e8m0',
  25: 'u2',
  26: 'i2',
};

/** Types that have a number in onnx.proto and no element type of ours, for messages. */
export const ONNX_OTHER_TYPES: Readonly<Record<number, string>> = {
  8: 'string',
  14: 'complex64',
  15: 'complex128',
  18: 'float8e4m3fnuz',
  20: 'float8e5m2fnuz',
};

const NUMBERS: ReadonlyMap<string, number> = new Map(
  Object.entries(ONNX_DATA_TYPES).map(([number, dtype]) => [dtype, Number(number)]),
);

/** The `TensorProto.DataType` of an element type; undefined where ONNX has none. */
export function onnxDataType(dtype: string): number | undefined {
  return NUMBERS.get(dtype);
}

/**
 * Element types. Names follow safetensors in lower case; `u3` is an unsigned 3-bit integer.
 * Floats below 16 bits are the OCP formats: `f8_e4m3` is E4M3FN (no infinity), `f8_e8m0` is a power of two.
 */
export type FloatDType =
  | 'f64' | 'f32' | 'f16' | 'bf16'
  | 'f8_e4m3' | 'f8_e5m2' | 'f8_e8m0'
  | 'f6_e2m3' | 'f6_e3m2'
  | 'f4_e2m1';
export type IntDType =
  | 'i64' | 'i32' | 'i16' | 'i8' | 'i7' | 'i6' | 'i5' | 'i4' | 'i3' | 'i2' | 'i1'
  | 'u64' | 'u32' | 'u16' | 'u8' | 'u7' | 'u6' | 'u5' | 'u4' | 'u3' | 'u2' | 'u1';
export type DType = FloatDType | IntDType | 'bool';

export interface DTypeInfo {
  readonly bits: number;
  readonly kind: 'float' | 'int' | 'uint' | 'bool';
}

const float = (bits: number): DTypeInfo => ({ bits, kind: 'float' });
const int = (bits: number): DTypeInfo => ({ bits, kind: 'int' });
const uint = (bits: number): DTypeInfo => ({ bits, kind: 'uint' });

/** Width and kind of every element type. `bool` takes a byte. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = /* @__PURE__ */ (() => ({
  f64: float(64), f32: float(32), f16: float(16), bf16: float(16),
  f8_e4m3: float(8), f8_e5m2: float(8), f8_e8m0: float(8), f6_e2m3: float(6), f6_e3m2: float(6), f4_e2m1: float(4),
  i64: int(64), i32: int(32), i16: int(16), i8: int(8),
  i7: int(7), i6: int(6), i5: int(5), i4: int(4), i3: int(3), i2: int(2), i1: int(1),
  u64: uint(64), u32: uint(32), u16: uint(16), u8: uint(8),
  u7: uint(7), u6: uint(6), u5: uint(5), u4: uint(4), u3: uint(3), u2: uint(2), u1: uint(1),
  bool: { bits: 8, kind: 'bool' },
}))();

export function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name);
}

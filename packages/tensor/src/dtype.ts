import { fail } from './error.js';

/**
 * Element types. Names follow safetensors in lower case; `u3` is an unsigned 3-bit integer.
 * Floats below 16 bits are the OCP formats: `f8_e4m3` is E4M3FN (no infinity), `f8_e8m0` is a power of two.
 */
export type FloatDType =
  | 'f64'
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'f8_e8m0'
  | 'f6_e2m3'
  | 'f6_e3m2'
  | 'f4_e2m1';
export type IntDType =
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'i7'
  | 'i6'
  | 'i5'
  | 'i4'
  | 'i3'
  | 'i2'
  | 'i1'
  | 'u64'
  | 'u32'
  | 'u16'
  | 'u8'
  | 'u7'
  | 'u6'
  | 'u5'
  | 'u4'
  | 'u3'
  | 'u2'
  | 'u1';
export type DType = FloatDType | IntDType | 'bool';

export interface DTypeInfo {
  readonly bits: number;
  readonly kind: 'float' | 'int' | 'uint' | 'bool';
}

/** Width and kind of every element type. `bool` takes a byte. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = /* @__PURE__ */ (() => {
  const names =
    'f64 f32 f16 bf16 f8_e4m3 f8_e5m2 f8_e8m0 f6_e2m3 f6_e3m2 f4_e2m1 ' +
    'i64 i32 i16 i8 i7 i6 i5 i4 i3 i2 i1 u64 u32 u16 u8 u7 u6 u5 u4 u3 u2 u1';
  const infos: Record<string, DTypeInfo> = { bool: { bits: 8, kind: 'bool' } };
  for (const name of names.split(' ')) {
    const bits = Number(name.replace(/^[a-z]+|_.*/g, ''));
    infos[name] = { bits, kind: name[0] === 'i' ? 'int' : name[0] === 'u' ? 'uint' : 'float' };
  }
  return infos as Record<DType, DTypeInfo>;
})();

export function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name);
}

/** Throws `DTYPE` for what is not an element type. */
export function dtypeInfo(where: string, dtype: string): DTypeInfo {
  if (isDType(dtype)) return DTYPES[dtype];
  return fail('DTYPE', where, `${dtype} is no element type; try @halftone/formats`);
}

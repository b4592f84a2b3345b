import { packed } from './byte-length.js';
import { fail } from './error.js';
import type { NativeArray, PackedTensor } from './types.js';

const NATIVE = {
  f64: Float64Array,
  f32: Float32Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  u64: BigUint64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
};

/** Element types with a typed array of their own. */
export type NativeDType = keyof typeof NATIVE;

/**
 * The elements of a packed tensor as the typed array of its dtype, exactly: 64-bit integers as bigints.
 * A view of the tensor's bytes where alignment allows, else a copy: do not write to it.
 * Throws `DTYPE` for types that JavaScript cannot index, `SHAPE` when bytes and shape disagree.
 */
export function nativeData<T extends NativeDType>(tensor: PackedTensor<T>): InstanceType<(typeof NATIVE)[T]> {
  const { dtype, bytes } = packed(tensor.dtype, tensor.shape, tensor.bytes);
  if (!Object.hasOwn(NATIVE, dtype)) fail('DTYPE', 'nativeData', `no typed array holds ${dtype}; use decode`);
  return nativeView(dtype, bytes) as InstanceType<(typeof NATIVE)[T]>;
}

/** Bytes at any address as little-endian elements. The host is little-endian, as every JavaScript engine in use is. */
export function nativeView(dtype: NativeDType, bytes: Uint8Array): NativeArray {
  const Kind = NATIVE[dtype];
  const aligned = bytes.byteOffset % Kind.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  return new Kind(aligned.buffer as ArrayBuffer, aligned.byteOffset, bytes.byteLength / Kind.BYTES_PER_ELEMENT);
}

/** The typed array that carries a type's codes: its own, or unsigned integers of the same width; undefined below 8 bits. */
export function carrier(dtype: string, bits: number): NativeDType | undefined {
  if (Object.hasOwn(NATIVE, dtype)) return dtype as NativeDType;
  return bits === 16 ? 'u16' : bits === 8 ? 'u8' : undefined;
}

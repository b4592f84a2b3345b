import { type DType, type GgmlType, isGgmlType, type MetadataValue, type StorageType } from '@halftone/tensor';

/** Scalar types of GGUF metadata. */
export type GgufScalarType =
  | 'u8'
  | 'i8'
  | 'u16'
  | 'i16'
  | 'u32'
  | 'i32'
  | 'f32'
  | 'bool'
  | 'string'
  | 'u64'
  | 'i64'
  | 'f64';

/** A metadata type: a scalar, or an array of scalars. Arrays of arrays are refused, as in llama.cpp. */
export type GgufValueType = GgufScalarType | `${GgufScalarType}[]`;

/**
 * A metadata value with the type it has in the file, so that rewriting changes nothing.
 *
 * | type | value when read |
 * |---|---|
 * | u8 .. i32, f32, f64 | number |
 * | u64, i64 | number where it is exact, else bigint |
 * | bool, string | boolean, string |
 * | numeric arrays | typed array of that element type (`BigUint64Array`, `BigInt64Array` for 64-bit integers) |
 * | `bool[]`, `string[]` | array |
 */
export interface GgufValue {
  readonly type: GgufValueType;
  readonly value: MetadataValue;
  /** Strings that are not valid UTF-8, by index (0 for a scalar): their bytes, written back instead of `value`. */
  readonly rawStrings?: ReadonlyMap<number, Uint8Array>;
}

export interface GgufMetadataEntry extends GgufValue {
  readonly key: string;
}

/** Type ids: `enum gguf_type`. */
export const GGUF_SCALAR_IDS: Readonly<Record<GgufScalarType, number>> = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  u64: 10,
  i64: 11,
  f64: 12,
};

export const GGUF_ARRAY_ID = 9;

/** Bytes of one value; for strings of the length field alone, the least a string takes. */
export const GGUF_SCALAR_BYTES: Readonly<Record<GgufScalarType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
};

export function ggufScalarType(id: number): GgufScalarType | undefined {
  return keyOf(GGUF_SCALAR_IDS, id);
}

export const GGUF_VERSION = 3;
export const GGUF_DEFAULT_ALIGNMENT = 32;
/** `GGML_MAX_NAME` less the terminating zero. */
export const GGUF_MAX_NAME_BYTES = 63;
export const GGUF_MAX_DIMENSIONS = 4;

/** ggml's block types: `enum ggml_type`. */
const BLOCK_TYPE_IDS: Readonly<Record<GgmlType, number>> = {
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ2_XXS: 16,
  IQ2_XS: 17,
  IQ3_XXS: 18,
  IQ1_S: 19,
  IQ4_NL: 20,
  IQ3_S: 21,
  IQ2_S: 22,
  IQ4_XS: 23,
  IQ1_M: 29,
  TQ1_0: 34,
  TQ2_0: 35,
  MXFP4: 39,
  NVFP4: 40,
  Q1_0: 41,
  Q2_0: 42,
};

/** ggml's plain element types: `enum ggml_type`. */
const ELEMENT_IDS: Readonly<Partial<Record<DType, number>>> = {
  f32: 0,
  f16: 1,
  i8: 24,
  i16: 25,
  i32: 26,
  i64: 27,
  f64: 28,
  bf16: 30,
};

/** Names of types that exist in ggml but are not read here, for messages. */
const OTHER_NAMES: Readonly<Record<number, string>> = {
  4: 'Q4_2 (removed from ggml)',
  5: 'Q4_3 (removed from ggml)',
  9: 'Q8_1',
  15: 'Q8_K',
  31: 'Q4_0_4_4 (removed from ggml)',
  32: 'Q4_0_4_8 (removed from ggml)',
  33: 'Q4_0_8_8 (removed from ggml)',
  36: 'IQ4_NL_4_4 (removed from ggml)',
  37: 'IQ4_NL_4_8 (removed from ggml)',
  38: 'IQ4_NL_8_8 (removed from ggml)',
};

/** The storage type of a ggml type id; undefined for those not read here. */
export function storageTypeOf(id: number): StorageType | undefined {
  return keyOf(ELEMENT_IDS, id) ?? keyOf(BLOCK_TYPE_IDS, id);
}

/** Asked for every key and tensor of a file, so it allocates nothing. */
function keyOf<K extends string>(ids: Readonly<Partial<Record<K, number>>>, id: number): K | undefined {
  for (const key in ids) if (ids[key] === id) return key;
  return undefined;
}

/** The ggml type id of a storage type; undefined for element types that ggml does not have. */
export function ggmlTypeId(type: StorageType): number | undefined {
  return isGgmlType(type) ? BLOCK_TYPE_IDS[type] : ELEMENT_IDS[type];
}

/** What ggml calls a type id, for messages. */
export function ggmlTypeName(id: number): string {
  const known = storageTypeOf(id);
  return known?.toUpperCase() ?? OTHER_NAMES[id] ?? 'unknown to this version';
}

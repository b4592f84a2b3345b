/** ggml storage types that the oracle encodes and decodes, with their `enum ggml_type`. Source: ggml.h. */
export const ORACLE_GGML_TYPES = {
  F32: 0,
  F16: 1,
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
  BF16: 30,
  TQ1_0: 34,
  TQ2_0: 35,
  MXFP4: 39,
  NVFP4: 40,
  Q1_0: 41,
  Q2_0: 42,
} as const;

/** Name of a ggml storage type, as in GGUF listings. */
export type OracleGgmlType = keyof typeof ORACLE_GGML_TYPES;

/** Block types: those with a `dequantize_row_*` function. */
export type OracleBlockType = Exclude<OracleGgmlType, 'F32' | 'F16' | 'BF16'>;

/** `Q4_K` → `q4_K`, `IQ2_XXS` → `iq2_xxs`: how C function names spell a type. */
export function functionSuffix(type: OracleBlockType): string {
  return /^Q\d_K$/.test(type) ? `q${type.slice(1)}` : type.toLowerCase();
}

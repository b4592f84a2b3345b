import type { GgmlType } from './ggml-types.js';
import type { Scheme } from './quantized.js';

/**
 * The ggml block formats as ordinary schemes.
 *
 * | type | codes | groups | scales | offsets |
 * |---|---|---|---|---|
 * | Q4_0, Q5_0, Q8_0 | signed 4, 5, 8 bits | 32 | f16 `[out, in/32]` | none |
 * | Q4_1, Q5_1 | unsigned 4, 5 bits | 32 | f16 `[out, in/32]` | f16 `[out, in/32]` |
 * | Q2_K | unsigned 2 bits | 16 | u4 codes, f16 super-scale a 256 | u4 codes, f16 super-scale a 256 |
 * | Q3_K | signed 3 bits | 16 | i6 codes, f16 super-scale a 256 | none |
 * | Q4_K, Q5_K | unsigned 4, 5 bits | 32 | u6 codes, f16 super-scale a 256 | u6 codes, f16 super-scale a 256 |
 * | Q6_K | signed 6 bits | 16 | i8 codes, f16 super-scale a 256 | none |
 * | IQ4_NL | 4-bit indices of a table of 16 values | 32 | f16 `[out, in/32]` | none |
 * | IQ4_XS | as IQ4_NL | 32 | i6 codes, f16 super-scale a 256 | none |
 * | IQ2_XXS, IQ2_XS, IQ2_S | 8-, 9-, 10-bit indices of vectors of 8 magnitudes, signs | 32, 16, 16 | u4 indices of `(1/2 + s) / 4`, f16 super-scale a 256 | none |
 * | IQ3_XXS | 8-bit indices of vectors of 4 magnitudes, signs | 32 | u4 indices of `(1/2 + s) / 2`, f16 super-scale a 256 | none |
 * | IQ3_S | 9-bit indices of vectors of 4 magnitudes, signs | 32 | u4 indices of `1 + 2 s`, f16 super-scale a 256 | none |
 * | IQ1_S, IQ1_M | 12-bit indices of vectors of 8: 11 bits choose one over -1, 0, 1, the highest adds -1/8, else +1/8 | 32, 16 | u3 indices of `1 + 2 s`, f16 super-scale a 256 | none |
 * | TQ1_0, TQ2_0 | 2-bit indices of -1, 0, 1 (TQ2_0: and 2) | 256 | f16 `[out, in/256]` | none |
 * | Q1_0 | 1-bit indices of -1, 1 | 128 | f16 `[out, in/128]` | none |
 * | Q2_0 | 2-bit indices of -1, 0, 1, 2 | 64 | f16 `[out, in/64]` | none |
 * | MXFP4 | E2M1 floats | 32 | f8_e8m0 `[out, in/32]` | none |
 * | NVFP4 | E2M1 floats | 16 | f8_e4m3 `[out, in/16]` | none |
 *
 * Tables and vectors are in `@halftone/tensor/codebooks`.
 * ggml subtracts `dmin * m`; here the offset's super-scale is `-dmin`, so that offsets are added everywhere.
 * Decoding in float32 steps, `fround(fround(superScale * scaleCode) * code) + fround(offset)`, gives ggml's bits.
 */
export const GGML_SCHEMES: Readonly<Record<GgmlType, Scheme>> = {
  Q4_0: affine('Q4_0', 4, true, 32, true),
  Q4_1: affine('Q4_1', 4, false, 32, false),
  Q5_0: affine('Q5_0', 5, true, 32, true),
  Q5_1: affine('Q5_1', 5, false, 32, false),
  Q8_0: affine('Q8_0', 8, true, 32, true),
  Q2_K: affine('Q2_K', 2, false, 16, false),
  Q3_K: affine('Q3_K', 3, true, 16, true),
  Q4_K: affine('Q4_K', 4, false, 32, false),
  Q5_K: affine('Q5_K', 5, false, 32, false),
  Q6_K: affine('Q6_K', 6, true, 16, true),
  IQ1_S: lookup('IQ1_S', 12, 8, 32),
  IQ1_M: lookup('IQ1_M', 12, 8, 16),
  IQ2_XXS: lookup('IQ2_XXS', 8, 8, 32, true),
  IQ2_XS: lookup('IQ2_XS', 9, 8, 16, true),
  IQ2_S: lookup('IQ2_S', 10, 8, 16, true),
  IQ3_XXS: lookup('IQ3_XXS', 8, 4, 32, true),
  IQ3_S: lookup('IQ3_S', 9, 4, 32, true),
  IQ4_NL: lookup('IQ4_NL', 4, 1, 32),
  IQ4_XS: lookup('IQ4_XS', 4, 1, 32),
  TQ1_0: lookup('TQ1_0', 2, 1, 256),
  TQ2_0: lookup('TQ2_0', 2, 1, 256),
  MXFP4: e2m1('MXFP4', 32),
  NVFP4: e2m1('NVFP4', 16),
  Q1_0: lookup('Q1_0', 1, 1, 128),
  Q2_0: lookup('Q2_0', 2, 1, 64),
};

/** Types whose group scales are codes with an f16 super-scale for each 256 elements. */
export type GgmlSuperBlockType =
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'IQ1_S'
  | 'IQ1_M'
  | 'IQ2_XXS'
  | 'IQ2_XS'
  | 'IQ2_S'
  | 'IQ3_XXS'
  | 'IQ3_S'
  | 'IQ4_XS';

/** The scheme of their group scales (and offsets). Granularity counts group scales: 8 or 16 share a super-scale. */
export const GGML_SCALE_SCHEMES: Readonly<Record<GgmlSuperBlockType, Scheme>> = {
  Q2_K: affine('Q2_K:scales', 4, false, 16, true),
  Q3_K: affine('Q3_K:scales', 6, true, 16, true),
  Q4_K: affine('Q4_K:scales', 6, false, 8, true),
  Q5_K: affine('Q5_K:scales', 6, false, 8, true),
  Q6_K: affine('Q6_K:scales', 8, true, 16, true),
  IQ1_S: lookup('IQ1_S:scales', 3, 1, 8),
  IQ1_M: lookup('IQ1_M:scales', 3, 1, 16),
  IQ2_XXS: lookup('IQ2_XXS:scales', 4, 1, 8),
  IQ2_XS: lookup('IQ2_XS:scales', 4, 1, 16),
  IQ2_S: lookup('IQ2_S:scales', 4, 1, 16),
  IQ3_XXS: lookup('IQ3_XXS:scales', 4, 1, 8),
  IQ3_S: lookup('IQ3_S:scales', 4, 1, 8),
  IQ4_XS: affine('IQ4_XS:scales', 6, true, 8, true),
};

function affine(name: string, bits: number, signed: boolean, size: number, symmetric: boolean): Scheme {
  return {
    name: `ggml:${name}`,
    version: 1,
    grid: { type: 'affine', bits, signed, symmetric },
    granularity: { type: 'group', axis: 1, size },
  };
}

function lookup(name: string, bits: number, vectorLength: number, size: number, signs = false): Scheme {
  return {
    name: `ggml:${name}`,
    version: 1,
    grid: { type: 'lookup', bits, vectorLength, stages: 1, ...(signs ? { signs } : {}) },
    granularity: { type: 'group', axis: 1, size },
  };
}

function e2m1(name: string, size: number): Scheme {
  return {
    name: `ggml:${name}`,
    version: 1,
    grid: { type: 'float', exponent: 2, mantissa: 1, bias: 1 },
    granularity: { type: 'group', axis: 1, size },
  };
}

/** `ggml:Q4_K` → `Q4_K`; undefined for other schemes. */
export function ggmlTypeOf(scheme: Scheme): GgmlType | undefined {
  const type = scheme.name.startsWith('ggml:') ? scheme.name.slice('ggml:'.length) : '';
  return Object.hasOwn(GGML_SCHEMES, type) ? (type as GgmlType) : undefined;
}

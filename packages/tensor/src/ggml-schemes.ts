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
 *
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
};

/** The scheme of a K-quant's group scales (and offsets): codes over super-blocks of 256 elements. */
export const GGML_SCALE_SCHEMES: Readonly<Record<'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K', Scheme>> = {
  Q2_K: affine('Q2_K:scales', 4, false, 16, true),
  Q3_K: affine('Q3_K:scales', 6, true, 16, true),
  Q4_K: affine('Q4_K:scales', 6, false, 8, true),
  Q5_K: affine('Q5_K:scales', 6, false, 8, true),
  Q6_K: affine('Q6_K:scales', 8, true, 16, true),
};

function affine(name: string, bits: number, signed: boolean, size: number, symmetric: boolean): Scheme {
  return {
    name: `ggml:${name}`,
    version: 1,
    grid: { type: 'affine', bits, signed, symmetric },
    granularity: { type: 'group', axis: 1, size },
  };
}

/** `ggml:Q4_K` → `Q4_K`; undefined for other schemes. */
export function ggmlTypeOf(scheme: Scheme): GgmlType | undefined {
  const type = scheme.name.startsWith('ggml:') ? scheme.name.slice('ggml:'.length) : '';
  return Object.hasOwn(GGML_SCHEMES, type) ? (type as GgmlType) : undefined;
}

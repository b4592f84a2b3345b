import { HalftoneError, roundToBfloat16, roundToFloat16 } from '@halftone/tensor';

/**
 * How a range becomes a scale. The three symmetric conventions in use differ:
 *
 * - `asymmetric`: `scale = (max - min) / (2^b - 1)`, `zero = round(-min / scale)`, with `min <= 0 <= max` forced (GPTQ, AWQ).
 * - `full-range`: `scale = 2 absmax / (2^b - 1)`, codes `-2^(b-1) .. 2^(b-1) - 1` (GPTQ's `sym`, there stored with zero `2^(b-1)`).
 * - `restricted-range`: `scale = absmax / (2^(b-1) - 1)`, codes `-(2^(b-1) - 1) .. 2^(b-1) - 1` (the usual int8 rule). From 2 bits.
 * - `signed-max`: `scale = m / -2^(b-1)`, where `m` is the value of largest magnitude with its sign, so that
 *   `m` has the code `-2^(b-1)` (ggml's Q4_0 and Q5_0). Scales may be negative.
 */
export type Symmetry = 'asymmetric' | 'full-range' | 'restricted-range' | 'signed-max';

/** The type in which scales are stored; codes are chosen with the rounded scale. */
export type ScaleDType = 'f16' | 'bf16' | 'f32';

/** An affine integer grid before scaling. */
export interface AffineRule {
  readonly bits: number;
  readonly symmetry: Symmetry;
  readonly scaleDtype: ScaleDType;
  readonly minCode: number;
  readonly maxCode: number;
}

/** Throws `RANGE` for bits outside 1..8, and for `restricted-range` with 1 bit. */
export function affineRule(bits: number, symmetry: Symmetry, scaleDtype: ScaleDType, where: string): AffineRule {
  const lowest = symmetry === 'restricted-range' ? 2 : 1;
  if (!Number.isInteger(bits) || bits < lowest || bits > 8) {
    throw new HalftoneError('RANGE', `bits is ${bits}; ${symmetry} grids have ${lowest} to 8 bits`, {
      where,
      details: { bits },
    });
  }
  const half = 2 ** (bits - 1);
  return {
    bits,
    symmetry,
    scaleDtype,
    minCode: symmetry === 'asymmetric' ? 0 : symmetry === 'restricted-range' ? 1 - half : -half,
    maxCode: symmetry === 'asymmetric' ? 2 * half - 1 : half - 1,
  };
}

/** Smallest positive values of the storage types. */
const SMALLEST: Readonly<Record<ScaleDType, number>> = { f16: 2 ** -24, bf16: 2 ** -133, f32: 2 ** -149 };

/**
 * Writes `[scale, zero]` for a range to `out`. The scale is rounded to its storage type, never to 0: a range too small
 * for the type gets the type's smallest value, an empty range gets scale 1. A scale too large for the type is infinite.
 */
export function affineParameters(rule: AffineRule, min: number, max: number, out: Float64Array): void {
  if (min > 0) min = 0;
  if (max < 0) max = 0;
  let scale: number;
  if (rule.symmetry === 'asymmetric') {
    scale = (max - min) / rule.maxCode;
  } else if (rule.symmetry === 'signed-max') {
    scale = (-min > max ? min : max) / rule.minCode;
  } else {
    const absmax = -min > max ? -min : max;
    scale = rule.symmetry === 'full-range' ? (2 * absmax) / (rule.maxCode - rule.minCode) : absmax / rule.maxCode;
  }
  if (scale === 0) {
    out[0] = 1;
    out[1] = 0;
    return;
  }
  const rounded = roundToStorage(scale, rule.scaleDtype);
  scale = rounded !== 0 ? rounded : scale < 0 ? -SMALLEST[rule.scaleDtype] : SMALLEST[rule.scaleDtype];
  out[0] = scale;
  out[1] = rule.symmetry === 'asymmetric' ? Math.min(rule.maxCode, roundHalfEven(-min / scale)) : 0;
}

function roundToStorage(scale: number, dtype: ScaleDType): number {
  return dtype === 'f16' ? roundToFloat16(scale) : dtype === 'bf16' ? roundToBfloat16(scale) : Math.fround(scale);
}

/** Adding and subtracting 1.5 * 2^52 rounds to an integer, ties to even, for magnitudes below 2^51. */
export const ROUNDING_MAGIC = 6755399441055744;

export function roundHalfEven(value: number): number {
  return value + ROUNDING_MAGIC - ROUNDING_MAGIC;
}

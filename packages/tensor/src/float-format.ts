import { fail } from './error.js';

/**
 * A binary float: one sign bit, then `exponent` bits, then `mantissa` bits, with subnormals.
 * The top exponent codes are `ieee`: infinity and NaN; `nan`: only all ones is NaN (E4M3FN); `finite`: ordinary numbers.
 */
export interface FloatFormat {
  readonly exponent: number;
  readonly mantissa: number;
  readonly bias: number;
  readonly special: 'ieee' | 'nan' | 'finite';
}

/**
 * What becomes of values beyond the largest number. `saturate`: the largest number, for infinity too.
 * `ieee`: infinity, or NaN where the format has no infinity, or the largest number where it has neither.
 */
export type Overflow = 'saturate' | 'ieee';

/**
 * The format of a float grid or dtype. E4M3 with bias 7 is OCP's E4M3FN, 5 and 8 exponent bits are IEEE, all others
 * are finite. Source: OCP 8-bit floating point 1.0, OCP Microscaling 1.0.
 */
export function floatFormat(exponent: number, mantissa: number, bias: number): FloatFormat {
  const ieee = (exponent === 5 || exponent === 8) && mantissa > 0;
  return {
    exponent,
    mantissa,
    bias,
    special: ieee ? 'ieee' : exponent === 4 && mantissa === 3 && bias === 7 ? 'nan' : 'finite',
  };
}

/** The format of `f16`, `f8_e4m3` and their kind. */
export function floatFormatOf(dtype: string): FloatFormat {
  if (dtype === 'f16') return floatFormat(5, 10, 15);
  if (dtype === 'bf16') return floatFormat(8, 7, 127);
  const exponent = Number(dtype[4]);
  return floatFormat(exponent, Number(dtype[6]), 2 ** (exponent - 1) - 1);
}

/** The value of a code. */
export function decodeFloat(code: number, { exponent, mantissa, bias, special }: FloatFormat): number {
  const top = (1 << exponent) - 1;
  const e = (code >>> mantissa) & top;
  const m = code & ((1 << mantissa) - 1);
  const sign = (code >>> (exponent + mantissa)) & 1 ? -1 : 1;
  if (e === top) {
    if (special === 'ieee') return m === 0 ? sign * Infinity : NaN;
    if (special === 'nan' && m === (1 << mantissa) - 1) return NaN;
  }
  return e === 0 ? sign * m * 2 ** (1 - bias - mantissa) : sign * (m + (1 << mantissa)) * 2 ** (e - bias - mantissa);
}

/**
 * Makes an encoder to the nearest code, ties to even. It rounds once, from float64: never through float32.
 * The encoder throws `NUMERIC` for NaN where the format has none.
 */
export function floatEncoder(format: FloatFormat, overflow: Overflow): (value: number) => number {
  const { exponent, mantissa, bias, special } = format;
  const f64 = new Float64Array(1);
  const words = new Uint32Array(f64.buffer);
  const signShift = exponent + mantissa;
  const allOnes = (1 << signShift) - 1;
  const infinity = allOnes - ((1 << mantissa) - 1);
  const largest = special === 'ieee' ? infinity - 1 : special === 'nan' ? allOnes - 1 : allOnes;
  const nan = special === 'ieee' ? infinity | (1 << (mantissa - 1)) : allOnes;
  const beyond = overflow === 'saturate' || special === 'finite' ? largest : special === 'ieee' ? infinity : nan;
  const subnormalScale = 2 ** (bias - 1 + mantissa);
  const shift = 20 - mantissa;
  const belowHalf = (1 << (shift - 1)) - 1;
  return (value) => {
    f64[0] = value;
    const high = words[1] as number;
    const sign = (high >>> 31) << signShift;
    const e = ((high >>> 20) & 0x7ff) - 1023 + bias;
    // Adding 2^52 leaves a whole number, rounded to even by the float64 addition itself.
    if (e < 1) return sign | (Math.abs(value) * subnormalScale + 0x10000000000000 - 0x10000000000000);
    // The low word only matters as "not a tie": one sticky bit.
    const exact = (e << 20) | (high & 0xfffff) | (words[0] === 0 ? 0 : 1);
    const code = (exact + belowHalf + ((exact >>> shift) & 1)) >>> shift;
    if (code <= largest) return sign | code;
    if (!Number.isNaN(value)) return sign | beyond;
    return special === 'finite' ? fail('NUMERIC', 'encode', 'NaN has no code here; replace it') : nan;
  };
}

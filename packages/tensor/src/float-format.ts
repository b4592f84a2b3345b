import { HalftoneError } from './error.js';

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

export const FLOAT16: FloatFormat = { exponent: 5, mantissa: 10, bias: 15, special: 'ieee' };
export const BFLOAT16: FloatFormat = { exponent: 8, mantissa: 7, bias: 127, special: 'ieee' };

/** The formats below 16 bits, OCP 8-bit floating point 1.0 and OCP Microscaling 1.0. */
export const SMALL_FLOATS: Readonly<Record<'f8_e4m3' | 'f8_e5m2' | 'f6_e2m3' | 'f6_e3m2' | 'f4_e2m1', FloatFormat>> = {
  f8_e4m3: { exponent: 4, mantissa: 3, bias: 7, special: 'nan' },
  f8_e5m2: { exponent: 5, mantissa: 2, bias: 15, special: 'ieee' },
  f6_e2m3: { exponent: 2, mantissa: 3, bias: 1, special: 'finite' },
  f6_e3m2: { exponent: 3, mantissa: 2, bias: 3, special: 'finite' },
  f4_e2m1: { exponent: 2, mantissa: 1, bias: 1, special: 'finite' },
};

/** The value of a code. */
export function decodeFloat(code: number, { exponent, mantissa, bias, special }: FloatFormat): number {
  const top = (1 << exponent) - 1;
  const e = (code >>> mantissa) & top;
  const m = code & ((1 << mantissa) - 1);
  const sign = (code >>> (exponent + mantissa)) & 1 ? -1 : 1;
  if (e === top) {
    if (special === 'ieee') return m === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    if (special === 'nan' && m === (1 << mantissa) - 1) return Number.NaN;
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
  const half = 1 << (shift - 1);
  return (value) => {
    f64[0] = value;
    const high = words[1] as number;
    const sign = (high >>> 31) << signShift;
    const e = ((high >>> 20) & 0x7ff) - 1023 + bias;
    if (e < 1) {
      // Adding 2^52 leaves a whole number, rounded to even by the float64 addition itself.
      return sign | (Math.abs(value) * subnormalScale + 0x10000000000000 - 0x10000000000000);
    }
    if (value !== value) {
      if (special === 'finite') {
        throw new HalftoneError('NUMERIC', 'NaN has no code in a format of finite numbers; replace it before encoding', {
          where: 'encode',
        });
      }
      return nan;
    }
    const fraction = high & 0xfffff;
    let code = (e << mantissa) | (fraction >>> shift);
    const rest = fraction & ((1 << shift) - 1);
    if (rest > half || (rest === half && (words[0] !== 0 || (code & 1) !== 0))) code++;
    return sign | (code > largest ? beyond : code);
  };
}

/** The format of a float grid: E4M3 with bias 7 is `f8_e4m3`, 5 exponent bits are IEEE, all others finite. */
export function floatFormatOf(grid: { exponent: number; mantissa: number; bias: number }): FloatFormat {
  const { exponent, mantissa, bias } = grid;
  const special = exponent === 5 && mantissa > 0 ? 'ieee' : exponent === 4 && mantissa === 3 && bias === 7 ? 'nan' : 'finite';
  return { exponent, mantissa, bias, special };
}

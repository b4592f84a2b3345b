import { packed, packedByteLength } from './byte-length.js';
import { packCodes } from './codes.js';
import { DTYPES, type DType, dtypeInfo } from './dtype.js';
import { expectCount, fail } from './error.js';
import { floatEncoder, floatFormatOf, type Overflow } from './float-format.js';
import { carrier, type NativeDType, nativeView } from './native-data.js';
import { elementCount } from './shape.js';
import type { PackedTensor, Shape } from './types.js';

export interface EncodeOptions {
  /**
   * Default: `ieee` (infinity) for f16 and bf16, `saturate` (the largest number) for floats of 8 bits and less.
   * f32 and f64 are always `ieee`.
   */
  readonly overflow?: Overflow;
}

/**
 * Encodes row-major values. Everything is rounded once, from float64, to the nearest code with ties to even.
 *
 * - Floats: the sign of zero, subnormals, and NaN where the format has one are kept. Overflow: see `EncodeOptions`;
 *   f8_e4m3 has no infinity (`ieee` gives NaN), the 6- and 4-bit floats always saturate.
 * - f8_e8m0, powers of two without sign or zero: to the nearer of the two neighbours, clamped to 2^-127 .. 2^127
 *   (`ieee`: NaN above), zero to 2^-127; negative values throw.
 * - Integers: clamped to the type's range. `bigint` values are accepted for i64 and u64.
 * - bool: every number but 0 is 1.
 *
 * Throws `NUMERIC` for NaN in a type without NaN, naming the element; `SHAPE` when sizes differ.
 */
export function encode<T extends DType>(
  values: ArrayLike<number> | ArrayLike<bigint>,
  dtype: T,
  shape: Shape = [values.length],
  options: EncodeOptions = {},
): PackedTensor<T> {
  const count = elementCount(shape, 'encode');
  expectCount('encode', `values of shape [${shape}]`, values.length, count);
  const { bits, kind } = dtypeInfo('encode', dtype);
  const numbers = values as ArrayLike<number>;
  if (kind !== 'float' || bits < 8 || dtype === 'f8_e8m0') refuseUnencodable(numbers, dtype);
  const native = carrier(dtype, bits);
  const bytes = new Uint8Array(native === undefined ? 0 : packedByteLength(dtype, shape));
  // Codes below 8 bits are packed from one code a word.
  const out = native === undefined ? new Int8Array(count) : nativeView(native as NativeDType, bytes);
  if (bits === 64 && kind !== 'float') encodeWide(values, kind === 'int', out as BigInt64Array);
  else {
    const toCode = elementEncoder(dtype, options.overflow);
    if (toCode === undefined) (out as Float32Array).set(numbers);
    else for (let i = 0; i < count; i++) out[i] = toCode(numbers[i] as number);
  }
  if (native !== undefined) return packed(dtype, shape, bytes);
  return { ...packCodes(out as Int8Array, bits, kind === 'int', shape), dtype };
}

function refuseUnencodable(values: ArrayLike<number>, dtype: DType): void {
  const powers = dtype === 'f8_e8m0';
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (powers ? value < 0 : Number.isNaN(value)) {
      fail('NUMERIC', 'encode', `element ${i} is ${value}, which ${dtype} cannot hold; replace it`);
    }
  }
}

/** Encoder of one element of at most 32 bits; undefined where a typed array does it. */
function elementEncoder(dtype: DType, overflow?: Overflow): ((value: number) => number) | undefined {
  const { bits, kind } = DTYPES[dtype];
  if (kind === 'bool') return (value) => (value === 0 ? 0 : 1);
  if (dtype === 'f8_e8m0') return powerOfTwoEncoder(overflow === 'ieee' ? 255 : 254);
  if (kind === 'float') {
    if (bits > 16) return undefined;
    return floatEncoder(floatFormatOf(dtype), overflow ?? (bits === 16 ? 'ieee' : 'saturate'));
  }
  const highest = 2 ** (kind === 'int' ? bits - 1 : bits) - 1;
  const lowest = kind === 'int' ? -highest - 1 : 0;
  return (value) => roundHalfEven(Math.min(Math.max(value, lowest), highest));
}

/** The exponent code of the nearest power of two, ties to the even code. */
function powerOfTwoEncoder(beyond: number): (value: number) => number {
  // A wider range of exponents, with the same parity, keeps subnormals out of the way.
  const toCode = floatEncoder({ exponent: 9, mantissa: 0, bias: 255, special: 'nan' }, 'saturate');
  return (value) => {
    const code = (toCode(value) & 511) - 128;
    return code < 255 ? Math.max(code, 0) : Number.isNaN(value) ? 255 : beyond;
  };
}

function encodeWide(values: ArrayLike<number | bigint>, signed: boolean, out: BigInt64Array): void {
  const highest = 2n ** (signed ? 63n : 64n) - 1n;
  const lowest = signed ? -highest - 1n : 0n;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number | bigint;
    // The bounds only keep infinities out of BigInt.
    const whole = typeof value === 'bigint' ? value : BigInt(roundHalfEven(Math.min(Math.max(value, -1e20), 1e20)));
    out[i] = whole < lowest ? lowest : whole > highest ? highest : whole;
  }
}

/** Nearest whole number, ties to even: adding 2^52 leaves no bits for a fraction. */
function roundHalfEven(value: number): number {
  const toWhole = 2 ** 52;
  if (!(Math.abs(value) < toWhole)) return value;
  return value < 0 ? value - toWhole + toWhole : value + toWhole - toWhole;
}

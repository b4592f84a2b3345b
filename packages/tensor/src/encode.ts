import { packed, packedByteLength } from './byte-length.js';
import { packCodes } from './codes.js';
import { DTYPES, isDType, type DType } from './dtype.js';
import { HalftoneError } from './error.js';
import { BFLOAT16, FLOAT16, floatEncoder, type Overflow, SMALL_FLOATS } from './float-format.js';
import { elementCount } from './shape.js';
import type { PackedTensor, Shape } from './types.js';

export interface EncodeOptions {
  /** Default: `ieee` (infinity) for f32, f16 and bf16, `saturate` (the largest number) for floats of 8 bits and less. */
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
  if (!isDType(dtype)) {
    throw new HalftoneError('DTYPE', `${String(dtype)} is not an element type`, { where: 'encode', details: { dtype } });
  }
  const count = elementCount(shape, 'encode');
  if (values.length !== count) {
    throw new HalftoneError('SHAPE', `shape [${shape}] has ${count} elements but there are ${values.length} values`, {
      where: 'encode',
      details: { shape, length: values.length },
    });
  }
  const { bits, kind } = DTYPES[dtype];
  const numbers = values as ArrayLike<number>;
  if (kind !== 'float' || bits < 8 || dtype === 'f8_e8m0') refuseUnencodable(numbers, dtype);
  if (bits < 8) {
    const codes = Int16Array.from(numbers, codeOf(dtype, options.overflow));
    return { ...packCodes(codes, bits, kind === 'int', shape), dtype };
  }
  const bytes = new Uint8Array(packedByteLength(dtype, shape));
  if (dtype === 'f64') new Float64Array(bytes.buffer).set(numbers);
  else if (dtype === 'f32') {
    const out = new Float32Array(bytes.buffer);
    out.set(numbers);
    if (options.overflow === 'saturate') {
      for (let i = 0; i < count; i++) out[i] = Math.min(Math.max(out[i] as number, -LARGEST_FLOAT32), LARGEST_FLOAT32);
    }
  } else if (bits === 64) {
    const out = new BigInt64Array(bytes.buffer);
    for (let i = 0; i < count; i++) out[i] = toBigInt(values[i] as number | bigint, kind === 'int');
  } else {
    const toCode = codeOf(dtype, options.overflow);
    const out = bits === 8 ? bytes : bits === 16 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
    for (let i = 0; i < count; i++) out[i] = toCode(numbers[i] as number);
  }
  return packed(dtype, shape, bytes);
}

const LARGEST_FLOAT32 = 3.4028234663852886e38;

function refuseUnencodable(values: ArrayLike<number>, dtype: DType): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const negative = dtype === 'f8_e8m0' && value < 0;
    if (negative || (value !== value && dtype !== 'f8_e8m0')) {
      throw new HalftoneError('NUMERIC', `element ${i} is ${value}, which ${dtype} cannot hold; replace it before encoding`, {
        where: 'encode',
        details: { element: i, value, dtype },
      });
    }
  }
}

/** Encoder of one element to a code of at most 32 bits. */
function codeOf(dtype: DType, overflow: Overflow | undefined): (value: number) => number {
  if (dtype === 'f16') return floatEncoder(FLOAT16, overflow ?? 'ieee');
  if (dtype === 'bf16') return floatEncoder(BFLOAT16, overflow ?? 'ieee');
  if (dtype === 'f8_e8m0') return powerOfTwoEncoder(overflow ?? 'saturate');
  if (Object.hasOwn(SMALL_FLOATS, dtype)) {
    return floatEncoder(SMALL_FLOATS[dtype as keyof typeof SMALL_FLOATS], overflow ?? 'saturate');
  }
  const { bits, kind } = DTYPES[dtype];
  if (kind === 'bool') return (value) => (value === 0 ? 0 : 1);
  const lowest = kind === 'int' ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  return (value) => roundHalfEven(Math.min(Math.max(value, lowest), highest));
}

function powerOfTwoEncoder(overflow: Overflow): (value: number) => number {
  const f64 = new Float64Array(1);
  const words = new Uint32Array(f64.buffer);
  return (value) => {
    if (value !== value) return 255;
    f64[0] = value;
    const high = words[1] as number;
    const code = (high >>> 20) - 1023 + 127;
    if (value === 0 || code < 0) return 0;
    const fraction = high & 0xfffff;
    const up = fraction > 0x80000 || (fraction === 0x80000 && (words[0] !== 0 || (code & 1) === 1));
    if (code + (up ? 1 : 0) > 254) return overflow === 'saturate' ? 254 : 255;
    return up ? code + 1 : code;
  };
}

function toBigInt(value: number | bigint, signed: boolean): bigint {
  const lowest = signed ? -(2n ** 63n) : 0n;
  const highest = signed ? 2n ** 63n - 1n : 2n ** 64n - 1n;
  // The bounds keep infinities out of BigInt.
  const whole = typeof value === 'bigint' ? value : BigInt(roundHalfEven(Math.min(Math.max(value, -(2 ** 64)), 2 ** 65)));
  return whole < lowest ? lowest : whole > highest ? highest : whole;
}

/** Nearest whole number, ties to even. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

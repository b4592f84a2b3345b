/**
 * A slow second opinion on small floats: decodes by reading the bits one at a time, and encodes by looking at every code.
 */
export interface OracleFormat {
  readonly exponent: number;
  readonly mantissa: number;
  readonly bias: number;
  readonly special: 'ieee' | 'nan' | 'finite';
}

export const ORACLE_FORMATS: Readonly<Record<string, OracleFormat>> = {
  f16: { exponent: 5, mantissa: 10, bias: 15, special: 'ieee' },
  bf16: { exponent: 8, mantissa: 7, bias: 127, special: 'ieee' },
  f8_e4m3: { exponent: 4, mantissa: 3, bias: 7, special: 'nan' },
  f8_e5m2: { exponent: 5, mantissa: 2, bias: 15, special: 'ieee' },
  f6_e2m3: { exponent: 2, mantissa: 3, bias: 1, special: 'finite' },
  f6_e3m2: { exponent: 3, mantissa: 2, bias: 3, special: 'finite' },
  f4_e2m1: { exponent: 2, mantissa: 1, bias: 1, special: 'finite' },
};

export function oracleDecode(code: number, format: OracleFormat): number {
  const width = 1 + format.exponent + format.mantissa;
  const bits = code.toString(2).padStart(width, '0');
  const sign = bits[0] === '1' ? -1 : 1;
  const exponentBits = bits.slice(1, 1 + format.exponent);
  const mantissaBits = bits.slice(1 + format.exponent);
  const allOnes = !exponentBits.includes('0');
  if (format.special === 'ieee' && allOnes)
    return mantissaBits.includes('1') ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (format.special === 'nan' && allOnes && !mantissaBits.includes('0')) return Number.NaN;
  const subnormal = !exponentBits.includes('1');
  let significand = subnormal ? 0 : 1;
  for (let i = 0; i < mantissaBits.length; i++) if (mantissaBits[i] === '1') significand += 1 / 2 ** (i + 1);
  let power = (subnormal ? 1 : Number.parseInt(exponentBits, 2)) - format.bias;
  let value = significand;
  for (; power > 0; power--) value *= 2;
  for (; power < 0; power++) value /= 2;
  return sign * value;
}

/** Finite non-negative values with their codes, rising. */
export function oracleLadder(format: OracleFormat): { code: number; value: number }[] {
  const codes = 2 ** (format.exponent + format.mantissa);
  return Array.from({ length: codes }, (_, code) => ({ code, value: oracleDecode(code, format) }))
    .filter(({ value }) => Number.isFinite(value))
    .sort((a, b) => a.value - b.value);
}

/** The nearest code by comparing with both neighbours; ties to the even code; NaN not handled. */
export function oracleEncode(
  value: number,
  format: OracleFormat,
  overflow: 'saturate' | 'ieee',
  ladder = oracleLadder(format),
): number {
  const sign = value < 0 || Object.is(value, -0) ? 2 ** (format.exponent + format.mantissa) : 0;
  const magnitude = Math.abs(value);
  const top = ladder[ladder.length - 1] as { code: number; value: number };
  const below = ladder[ladder.length - 2] as { code: number; value: number };
  const limit = top.value + (top.value - below.value) / 2;
  // A tie at the limit goes to the even code, which is the one beyond exactly when the top code is odd.
  if (magnitude > limit || (magnitude === limit && top.code % 2 === 1)) {
    if (overflow === 'saturate' || format.special === 'finite') return sign + top.code;
    return sign + (format.special === 'ieee' ? top.code + 1 : 2 ** (format.exponent + format.mantissa) - 1);
  }
  let low = 0;
  let high = ladder.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((ladder[middle] as { value: number }).value <= magnitude) low = middle;
    else high = middle;
  }
  const a = ladder[low] as { code: number; value: number };
  const b = ladder[high] as { code: number; value: number };
  const toA = magnitude - a.value;
  const toB = b.value - magnitude;
  if (toA === toB) return sign + (a.code % 2 === 0 ? a.code : b.code);
  return sign + (toA < toB ? a.code : b.code);
}

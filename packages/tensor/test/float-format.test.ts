import { type DType, decode, encode, unpackCodes } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ORACLE_FORMATS, oracleDecode, oracleEncode, oracleLadder } from './oracle/float-oracle.js';

/** Bit patterns of encoded values. */
function codesOf(values: number[], dtype: DType, overflow?: 'saturate' | 'ieee'): number[] {
  return Array.from(unpackCodes(encode(values, dtype, [values.length], { overflow })));
}

describe.each(Object.entries(ORACLE_FORMATS))('%s', (name, format) => {
  const dtype = name as DType;
  const width = 1 + format.exponent + format.mantissa;
  const ladder = oracleLadder(format);
  const hasNan = format.special !== 'finite';
  const standard = width === 16 ? 'ieee' : 'saturate';

  it('decodes every code as the bit-by-bit oracle does', () => {
    const values = Array.from({ length: 2 ** width }, (_, code) => oracleDecode(code, format));
    const bytes = new Uint8Array(Math.ceil((2 ** width * width) / 8));
    const bits = values.map((_, code) => code.toString(2).padStart(width, '0').split('').reverse().join('')).join('');
    for (let i = 0; i < bits.length; i++)
      if (bits[i] === '1') bytes[i >> 3] = (bytes[i >> 3] as number) | (1 << (i & 7));
    const decoded = decode({ kind: 'packed', dtype, shape: [values.length], bytes });
    expect(decoded.every((value, code) => Object.is(value, values[code]))).toBe(true);
  });

  it('encodes the value of every code back to the code', () => {
    const codes = Array.from({ length: 2 ** width }, (_, code) => code);
    const kept = codes.filter((code) => {
      const value = oracleDecode(code, format);
      return !Number.isNaN(value) && (Number.isFinite(value) || standard === 'ieee');
    });
    const again = codesOf(
      kept.map((code) => oracleDecode(code, format)),
      dtype,
    );
    expect(again).toEqual(kept);
  });

  it('rounds midpoints between neighbours to even, and their surroundings to the nearer one', () => {
    const values: number[] = [];
    for (let i = 0; i + 1 < ladder.length; i++) {
      const a = ladder[i]!.value;
      const b = ladder[i + 1]!.value;
      const middle = (a + b) / 2;
      values.push(middle, -middle, middle * (1 + 2 ** -50), middle * (1 - 2 ** -50));
    }
    const expected = values.map((value) => oracleEncode(value, format, standard, ladder));
    expect(codesOf(values, dtype)).toEqual(expected);
  });

  it('agrees with the oracle on random numbers, under both overflow rules', () => {
    const top = ladder[ladder.length - 1]!.value;
    const number = fc.oneof(
      fc.double({ noNaN: true }),
      fc.float({ noNaN: true }),
      fc.double({ noNaN: true, min: -2 * Math.min(top, 1e38), max: 2 * Math.min(top, 1e38) }),
      fc.integer({ min: 0, max: ladder.length - 1 }).map((i) => ladder[i]!.value * 1.0001),
    );
    fc.assert(
      fc.property(
        fc.array(number, { minLength: 1, maxLength: 32 }),
        fc.constantFrom('saturate', 'ieee'),
        (values, overflow) => {
          const expected = values.map((value) => oracleEncode(value, format, overflow, ladder));
          expect(codesOf(values, dtype, overflow)).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('keeps NaN where the format has one and refuses it elsewhere', () => {
    if (hasNan) expect(decode(encode([Number.NaN], dtype))[0]).toBeNaN();
    else expect(() => encode([0, Number.NaN], dtype)).toThrow(/element 1 is NaN/);
  });

  it('overflows by the stated rule', () => {
    const top = ladder[ladder.length - 1]!.value;
    const infinity = Number.POSITIVE_INFINITY;
    const beyond = format.special === 'ieee' ? infinity : format.special === 'nan' ? Number.NaN : top;
    const [saturated] = decode(encode([infinity], dtype, [1], { overflow: 'saturate' }));
    const [negative] = decode(encode([-infinity], dtype, [1], { overflow: 'saturate' }));
    const [ieee] = decode(encode([infinity], dtype, [1], { overflow: 'ieee' }));
    expect([saturated, negative, ieee]).toEqual([top, -top, beyond]);
    expect(decode(encode([infinity], dtype))[0]).toBe(standard === 'ieee' ? infinity : top);
  });
});

describe('f8_e8m0', () => {
  it('decodes every code', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, code) => code);
    const values = decode({ kind: 'packed', dtype: 'f8_e8m0', shape: [256], bytes });
    expect(values[255]).toBeNaN();
    for (let code = 0; code < 255; code++) expect(Math.log2(values[code]!)).toBe(code - 127);
    expect(encode(values, 'f8_e8m0').bytes).toEqual(bytes);
  });

  it('goes to the nearer power of two, ties to the even code', () => {
    for (let power = -126; power < 127; power++) {
      const middle = 1.5 * 2 ** power;
      const even = (power + 127) % 2 === 0 ? 2 ** power : 2 ** (power + 1);
      const got = decode(encode([middle, middle * (1 - 2 ** -40), middle * (1 + 2 ** -40)], 'f8_e8m0'));
      expect([...got]).toEqual([even, 2 ** power, 2 ** (power + 1)]);
    }
  });

  it('clamps, and refuses negative numbers', () => {
    const tiny = 2 ** -127;
    expect([...decode(encode([0, -0, 1e-300, tiny * 1.4, Infinity, 1e300], 'f8_e8m0'))]).toEqual([
      ...[tiny, tiny, tiny, tiny],
      ...[2 ** 127, 2 ** 127],
    ]);
    expect(encode([Infinity, Number.NaN], 'f8_e8m0', [2], { overflow: 'ieee' }).bytes).toEqual(Uint8Array.of(255, 255));
    expect(() => encode([1, -1], 'f8_e8m0')).toThrow(/element 1 is -1/);
  });
});

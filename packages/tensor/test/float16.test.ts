import {
  bfloat16ToNumber,
  decode,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
  roundToBfloat16,
  roundToFloat16,
} from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ORACLE_FORMATS, oracleDecode, oracleEncode, oracleLadder } from './oracle/float-oracle.js';

const cases = [
  ['f16', float16ToNumber, numberToFloat16, roundToFloat16],
  ['bf16', bfloat16ToNumber, numberToBfloat16, roundToBfloat16],
] as const;

describe.each(cases)('%s, one number at a time', (dtype, toNumber, fromNumber, round) => {
  const format = ORACLE_FORMATS[dtype]!;
  const ladder = oracleLadder(format);

  it('agrees with the oracle on all 65536 codes, and with the bulk decoder', () => {
    const words = Uint16Array.from({ length: 65536 }, (_, code) => code);
    const bulk = decode({ kind: 'packed', dtype, shape: [65536], bytes: new Uint8Array(words.buffer) });
    for (let code = 0; code < 65536; code++) {
      const value = toNumber(code);
      const expected = oracleDecode(code, format);
      if (!Object.is(value, expected) || !Object.is(bulk[code], expected))
        expect([code, value, bulk[code]]).toEqual([code, expected, expected]);
      if (!Number.isNaN(value) && fromNumber(value) !== code) expect(fromNumber(value)).toBe(code);
    }
  });

  it('rounds as the oracle does', () => {
    fc.assert(
      fc.property(fc.oneof(fc.float({ noNaN: true }), fc.double({ noNaN: true })), (value) => {
        const code = oracleEncode(value, format, 'ieee', ladder);
        expect(fromNumber(value)).toBe(code);
        expect(round(value)).toBe(oracleDecode(code, format));
        expect(round(round(value))).toBe(round(value));
      }),
      { numRuns: 2000 },
    );
  });

  it('does not round twice', () => {
    // Half-way to the next code in float32 already, but below it in float64.
    const step = 2 ** -format.mantissa;
    expect(fromNumber(1 + step / 2 + 2 ** -40)).toBe(fromNumber(1) + 1);
    expect(fromNumber(1 + 1.5 * step - 2 ** -40)).toBe(fromNumber(1) + 1);
  });

  it('keeps NaN and the sign of zero', () => {
    expect(round(Number.NaN)).toBeNaN();
    expect(round(-0)).toBe(-0);
    expect(round(-1e-60)).toBe(-0);
  });
});

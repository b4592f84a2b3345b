import { packGgml } from '@halftone/formats';
import { ggmlDequantize, ggmlQuantize, ggmlQuantizeRef, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { dequantize, GGML_TYPES, type GgmlType, type QuantizeContext, tensor, unpackCodes } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { ggml, roundNearest } from '../src/index.js';
import { comparedRows, compareErrors, exampleImportance, hostileRows } from './lattice-cases.js';
import { BOOKWORM, normalWeights } from './weights.js';

const CONTEXT: QuantizeContext = { name: 'w' };
const REFERENCE = ['TQ1_0', 'TQ2_0', 'Q1_0', 'Q2_0', 'MXFP4', 'NVFP4'] as const;
const IQ = ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S', 'IQ4_XS', 'IQ4_NL'] as const;
const ALL = Object.keys(GGML_TYPES) as GgmlType[];
const needsOracle = oracleAvailable() ? '' : ' (needs llama.cpp libraries for linux-x64)';
const needsModel = BOOKWORM === undefined ? ' (without bookworm-29m, which is not there)' : '';

function squaredError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum;
}

describe.skipIf(!oracleAvailable())(`types that follow ggml's reference encoder${needsOracle}`, () => {
  for (const type of REFERENCE) {
    it(`${type} has its bytes on normal weights, and importance changes nothing on either side`, () => {
      const values = normalWeights(24 * 512, 3).map((value) => 5 * value);
      const importance = exampleImportance(512);
      const context = { name: 'w', statistics: { tokens: 1, inputSquares: Float64Array.from(importance) } };
      const ours = packGgml(ggml(type).quantize(tensor(values, [24, 512]), context)).bytes;
      expect(Buffer.compare(ours, ggmlQuantizeRef(type, values, 24, 512))).toBe(0);
      expect(Buffer.compare(ours, ggmlQuantize(type, values, 24, 512, importance))).toBe(0);
    });

    it(`${type} has its bytes on ties, powers of two, tiny and large values`, () => {
      const below = 1 - 2 ** -24;
      const rows: ((i: number) => number)[] = [
        () => 0,
        () => -0,
        () => -3,
        (i) => (i % 32 === 7 ? -1 : 0),
        (i) => ((i % 32) - 16) / 2,
        (i) => ((i % 25) - 12) / 4,
        (i) => (i % 2 === 0 ? 1 : -1),
        (i) => below * 2 ** Math.floor(i / 32),
        (i) => below * 2 ** -Math.floor(i / 32),
        (i) => ((i % 9) - 4) * 1e-30,
        (i) => ((i % 9) - 4) * 1e-5,
        (i) => ((i % 9) - 4) * 600,
      ];
      for (const row of rows) {
        const values = Float32Array.from({ length: 256 }, (_, i) => row(i));
        const ours = packGgml(ggml(type).quantize(tensor(values, [1, 256]), CONTEXT)).bytes;
        expect([...ours], String(row)).toEqual([...ggmlQuantizeRef(type, values, 1, 256)]);
      }
    });
  }

  it('NVFP4 refuses what ggml would clip', () => {
    const values = normalWeights(2 * 64, 3);
    values[64 + 20] = -2700;
    expect(() => ggml('NVFP4').quantize(tensor(values, [2, 64]), CONTEXT)).toThrow(
      expect.objectContaining({ code: 'NUMERIC', details: expect.objectContaining({ row: 1, column: 16 }) }),
    );
  });
});

describe.skipIf(!oracleAvailable())(`errors that ggml's encoders minimise${needsOracle}${needsModel}`, () => {
  // The other types are in ggml-iq.slow.test.ts: ggml needs seconds to set up their lattices.
  for (const type of ['IQ4_NL', 'IQ4_XS', 'IQ3_XXS', 'IQ3_S'] as const) {
    for (const rows of comparedRows()) {
      it(`${type} on ${rows.name}: at most 1.01 times ggml's, with and without importance`, () => {
        for (const importance of [undefined, exampleImportance(rows.columns)]) {
          const { ours, theirs } = compareErrors(type, rows, importance);
          expect(ours).toBeLessThanOrEqual(1.01 * theirs);
        }
      });
    }
  }

  it('packed bytes decode in ggml to the values of our reference decoder', () => {
    const { values } = hostileRows(512);
    for (const type of [...IQ, 'MXFP4'] as const) {
      const q = ggml(type).quantize(tensor(values, [values.length / 512, 512]), CONTEXT);
      const decoded = ggmlDequantize(type, packGgml(q).bytes, values.length);
      expect(squaredError(decoded, dequantize(q)), type).toBe(0);
    }
  });
});

describe('IQ types', () => {
  const weight = tensor(normalWeights(4 * 512, 1), [4, 512]);

  it('lose less with more bits', () => {
    const errors = IQ.map((type) => squaredError(weight.data, dequantize(ggml(type).quantize(weight, CONTEXT))));
    expect([...errors].sort((a, b) => b - a)).toEqual(errors);
  });

  it('work without importance, are better with it where it counts, and ignore it when told', () => {
    const squares = Float64Array.from({ length: 512 }, (_, i) => (i % 8 === 0 ? 100 : 0.01));
    const context = { name: 'w', statistics: { tokens: 4, inputSquares: squares } };
    for (const type of IQ) {
      const plain = dequantize(ggml(type).quantize(weight, CONTEXT));
      const weighted = dequantize(ggml(type).quantize(weight, context));
      const error = (decoded: Float32Array) =>
        decoded.reduce((sum, value, i) => sum + squares[i % 512] * (value - weight.data[i]) ** 2, 0);
      expect(error(weighted), type).toBeLessThan(error(plain));
      expect(dequantize(ggml(type, { importance: false }).quantize(weight, context))).toEqual(plain);
      expect(() => ggml(type, { importance: true }).quantize(weight, CONTEXT)).toThrow(/inputSquares/);
    }
  });

  it('keep what their bytes can hold: even signs in eight, one shift in 32 or 8 columns', () => {
    for (const type of ['IQ2_XXS', 'IQ2_XS', 'IQ3_XXS'] as const) {
      const { signs } = ggml(type).quantize(weight, CONTEXT).parts;
      if (signs === undefined) throw new Error('there are no signs');
      const negative = Array.from(unpackCodes(signs));
      for (let i = 0; i < negative.length; i += 8) {
        expect(negative.slice(i, i + 8).reduce((sum, sign) => sum + sign, 0) % 2).toBe(0);
      }
    }
    const codes = unpackCodes(ggml('IQ1_S').quantize(weight, CONTEXT).parts.codes);
    for (let i = 0; i < codes.length; i += 4) {
      const shifts = new Set([...codes.subarray(i, i + 4)].map((code) => code >> 11));
      expect(shifts.size).toBe(1);
    }
  });

  it('cope with importances that are zero in some groups or everywhere', () => {
    for (const type of IQ) {
      for (const inputSquares of [
        new Float64Array(512),
        Float64Array.from({ length: 512 }, (_, i) => (i < 100 ? 0 : 1)),
      ]) {
        const q = ggml(type).quantize(weight, { name: 'w', statistics: { tokens: 1, inputSquares } });
        const energy = squaredError(weight.data, new Float32Array(weight.data.length));
        expect(squaredError(weight.data, dequantize(q)), type).toBeLessThan(0.5 * energy);
      }
    }
  });
});

describe('every ggml type', () => {
  const weight = tensor(normalWeights(3 * 512, 2), [3, 512]);

  it('keeps blocks of zeros beside others', () => {
    const data = weight.data.slice();
    data.fill(0, 256, 512);
    for (const type of ALL) {
      const decoded = dequantize(ggml(type).quantize(tensor(data, [3, 512]), CONTEXT));
      expect(
        decoded.subarray(256, 512).every((value) => value === 0),
        type,
      ).toBe(true);
    }
  });

  it('chooses scales first, and codes on them that are at least as near as those of other values', () => {
    for (const type of ALL) {
      const quantizer = ggml(type, { importance: false });
      const frozen = quantizer.chooseScales(weight, CONTEXT);
      expect(frozen.parts.scales, type).toEqual(quantizer.quantize(weight, CONTEXT).parts.scales);
      const nearest = squaredError(weight.data, dequantize(roundNearest(weight, frozen, CONTEXT)));
      const chosen = squaredError(weight.data, dequantize(quantizer.chooseCodes(weight, frozen, CONTEXT)));
      const other = tensor(normalWeights(3 * 512, 4), [3, 512]);
      const strange = squaredError(weight.data, dequantize(roundNearest(other, frozen, CONTEXT)));
      // Rounding an even number of signs in is not exact: it turns the cheapest sign before it looks for the vector.
      expect(nearest, type).toBeLessThanOrEqual(1.001 * chosen);
      expect(nearest, type).toBeLessThan(strange);
    }
  });

  it('refuses partial blocks', () => {
    for (const type of ALL) {
      const columns = GGML_TYPES[type].blockSize / 2;
      expect(() => ggml(type).quantize(tensor(new Float32Array(columns), [1, columns]), CONTEXT)).toThrow(
        expect.objectContaining({ code: 'SHAPE' }),
      );
    }
    expect(() => ggml('Q9_K' as GgmlType)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });
});

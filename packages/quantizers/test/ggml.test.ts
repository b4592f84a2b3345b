import { packGgml } from '@halftone/formats';
import { ggmlDequantize, ggmlQuantize, ggmlQuantizeRef, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { dequantize, isHalftoneError, type QuantizeContext, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { ggml } from '../src/index.js';
import { BOOKWORM, bookwormWeights, normalWeights, seededUniform } from './weights.js';

const LEGACY = ['Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1'] as const;
const K_QUANTS = ['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const;
const CONTEXT: QuantizeContext = { name: 'w' };
const needsOracle = oracleAvailable() ? '' : ' (needs llama.cpp libraries for linux-x64)';

function weightedError(values: Float32Array, decoded: Float32Array, weight: (index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += weight(i) * (values[i] - decoded[i]) ** 2;
  return sum;
}

/** Rows that test rounding: ties, signs, tiny and large blocks. */
function hostileRows(columns: number): Float32Array {
  const uniform = seededUniform(99);
  const rows: ((i: number) => number)[] = [
    () => 0,
    () => -0,
    () => 0.25,
    () => -3,
    (i) => (i % 32 === 7 ? 1 : 0),
    (i) => (i % 32 === 7 ? -1 : 0),
    (i) => i % 32,
    (i) => -(i % 32),
    (i) => ((i % 32) - 16) / 2,
    (i) => (i % 2 === 0 ? 1 : -1),
    (i) => (i % 2 === 0 ? -1 : 1),
    (i) => ((i % 9) - 4) * 1e-45,
    (i) => ((i % 9) - 4) * 1e-40,
    (i) => ((i % 9) - 4) * 1e-30,
    (i) => ((i % 9) - 4) * 1e-8,
    (i) => ((i % 9) - 4) * 1e4,
    () => Math.round((uniform() - 0.5) * 30) / 2,
    () => (uniform() - 0.5) * 10 ** Math.round((uniform() - 0.5) * 8),
  ];
  return Float32Array.from({ length: rows.length * columns }, (_, i) => rows[Math.floor(i / columns)](i % columns));
}

describe.skipIf(!oracleAvailable())(`legacy types without importance${needsOracle}`, () => {
  for (const type of LEGACY) {
    it(`${type} has the bytes of ggml on normal weights`, () => {
      const values = normalWeights(48 * 512, 3);
      const ours = packGgml(ggml(type).quantize(tensor(values, [48, 512]), CONTEXT));
      expect(Buffer.compare(ours.bytes, ggmlQuantize(type, values, 48, 512))).toBe(0);
      expect(Buffer.compare(ours.bytes, ggmlQuantizeRef(type, values, 48, 512))).toBe(0);
    });

    it(`${type} has the bytes of ggml on ties, constants, denormals and large values`, () => {
      const values = hostileRows(64);
      const rows = values.length / 64;
      const ours = packGgml(ggml(type).quantize(tensor(values, [rows, 64]), CONTEXT)).bytes;
      const theirs = ggmlQuantizeRef(type, values, rows, 64);
      const perRow = theirs.length / rows;
      for (let row = 0; row < rows; row++) {
        const part = (bytes: Uint8Array) => [...bytes.subarray(row * perRow, (row + 1) * perRow)];
        expect(part(ours), `row ${row}`).toEqual(part(theirs));
      }
    });
  }
});

describe.skipIf(!oracleAvailable())(`error against ggml_quantize_chunk${needsOracle}`, () => {
  const sources: readonly (readonly [string, () => { values: Float32Array; columns: number }[]])[] = [
    ['normal weights', () => [{ values: normalWeights(32 * 1024, 5), columns: 1024 }]],
    ['weights with outliers', () => [{ values: normalWeights(32 * 1024, 6, 0.02), columns: 1024 }]],
    ...(BOOKWORM === undefined ? [] : [['bookworm-29m', bookwormWeights] as const]),
  ];
  for (const [source, read] of sources) {
    for (const type of K_QUANTS) {
      it(`${type} on ${source}: at most 1.01 times ggml's`, () => {
        for (const { values, columns } of read()) {
          const rows = values.length / columns;
          const ours = dequantize(ggml(type).quantize(tensor(values, [rows, columns]), CONTEXT));
          const theirs = ggmlDequantize(type, ggmlQuantize(type, values, rows, columns), values.length);
          for (const weight of [() => 1, (i: number) => Math.abs(values[i])]) {
            const limit = 1.01 * weightedError(values, theirs, weight);
            expect(weightedError(values, ours, weight)).toBeLessThanOrEqual(limit);
          }
        }
      });
    }
    for (const type of [...K_QUANTS, 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1'] as const) {
      it(`${type} with importance on ${source}: at most 1.01 times ggml's`, () => {
        for (const { values, columns } of read()) {
          const rows = values.length / columns;
          const importance = normalWeights(columns, 8).map((normal) => Math.exp(50 * normal));
          const context = { name: 'w', statistics: { tokens: 1, inputSquares: Float64Array.from(importance) } };
          const ours = dequantize(ggml(type).quantize(tensor(values, [rows, columns]), context));
          const encoded = ggmlQuantize(type, values, rows, columns, importance);
          const theirs = ggmlDequantize(type, encoded, values.length);
          const weight = (i: number) => importance[i % columns];
          expect(weightedError(values, ours, weight)).toBeLessThanOrEqual(1.01 * weightedError(values, theirs, weight));
        }
      });
    }
  }

  it('decodes packed bytes to the same values in ggml as in our reference decoder', () => {
    const values = normalWeights(8 * 512, 11);
    for (const type of [...LEGACY, ...K_QUANTS]) {
      const q = ggml(type).quantize(tensor(values, [8, 512]), CONTEXT);
      expect(ggmlDequantize(type, packGgml(q).bytes, values.length)).toEqual(dequantize(q));
    }
  });
});

describe('ggml', () => {
  const weight = tensor(normalWeights(4 * 512, 1), [4, 512]);

  it('names the row and column of a weight that is not finite', () => {
    const data = weight.data.slice();
    data[2 * 512 + 17] = Number.NaN;
    expect(() => ggml('Q4_K').quantize(tensor(data, [4, 512]), { name: 'blk.0' })).toThrow(
      expect.objectContaining({ code: 'NUMERIC', details: expect.objectContaining({ row: 2, column: 17 }) }),
    );
  });

  it('refuses partial blocks and points to the fallback', () => {
    expect(() => ggml('Q4_K').quantize(tensor(new Float32Array(32), [1, 32]), CONTEXT)).toThrow(/ggmlFallback/);
    expect(() => ggml('Q4_0').quantize(tensor(new Float32Array(33), [1, 33]), CONTEXT)).toThrow(
      expect.objectContaining({ code: 'SHAPE' }),
    );
  });

  it('refuses scales beyond float16 and names the block', () => {
    for (const type of [...LEGACY, ...K_QUANTS]) {
      const data = weight.data.slice();
      data[512 + 300] = 1e37;
      const error = caught(() => ggml(type).quantize(tensor(data, [4, 512]), { name: 'blk.1' }));
      expect(error).toMatchObject({ code: 'NUMERIC', details: { tensor: 'blk.1', row: 1 } });
    }
  });

  it('demands, uses or ignores the importance as told', () => {
    const squares = Float64Array.from({ length: 512 }, (_, i) => (i % 8 === 0 ? 100 : 0.01));
    const statistics = { tokens: 4, inputSquares: squares };
    for (const type of ['Q4_0', 'Q5_1', ...K_QUANTS] as const) {
      const plain = dequantize(ggml(type).quantize(weight, CONTEXT));
      const weighted = dequantize(ggml(type).quantize(weight, { name: 'w', statistics }));
      const ignored = dequantize(ggml(type, { importance: false }).quantize(weight, { name: 'w', statistics }));
      const error = (decoded: Float32Array) => weightedError(weight.data, decoded, (i) => squares[i % 512]);
      expect(ignored).toEqual(plain);
      expect(error(weighted)).toBeLessThan(error(plain));
      expect(ggml(type, { importance: true }).needs).toEqual(['inputSquares']);
      expect(() => ggml(type, { importance: true }).quantize(weight, CONTEXT)).toThrow(/inputSquares/);
    }
  });

  it('refuses importances of another tensor or with values that make no sense', () => {
    const quantize = (inputSquares: Float64Array) => () =>
      ggml('Q4_K').quantize(weight, { name: 'w', statistics: { tokens: 1, inputSquares } });
    expect(quantize(new Float64Array(256).fill(1))).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    expect(quantize(new Float64Array(512).fill(-1))).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
    expect(quantize(new Float64Array(512).fill(Number.NaN))).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
  });

  it('copes with importances that are all zero in some groups or everywhere', () => {
    for (const type of ['Q4_0', 'Q4_1', ...K_QUANTS] as const) {
      for (const inputSquares of [
        new Float64Array(512),
        Float64Array.from({ length: 512 }, (_, i) => (i < 100 ? 0 : 1)),
      ]) {
        const q = ggml(type).quantize(weight, { name: 'w', statistics: { tokens: 1, inputSquares } });
        const error = weightedError(weight.data, dequantize(q), () => 1);
        expect(error).toBeLessThan(0.5 * weightedError(weight.data, new Float32Array(weight.data.length), () => 1));
      }
    }
  });

  it('chooses scales and codes in two steps with the same result', () => {
    for (const type of K_QUANTS) {
      const quantizer = ggml(type);
      const frozen = quantizer.chooseScales(weight, CONTEXT);
      expect(quantizer.chooseCodes(weight, frozen, CONTEXT)).toEqual(quantizer.quantize(weight, CONTEXT));
    }
    for (const type of LEGACY) {
      const quantizer = ggml(type);
      const frozen = quantizer.chooseScales(weight, CONTEXT);
      expect(frozen.parts.scales).toEqual(quantizer.quantize(weight, CONTEXT).parts.scales);
      const error = (decoded: Float32Array) => weightedError(weight.data, decoded, () => 1);
      const nearest = dequantize(quantizer.chooseCodes(weight, frozen, CONTEXT));
      expect(error(nearest)).toBeLessThanOrEqual(error(dequantize(quantizer.quantize(weight, CONTEXT))));
    }
  });

  it('keeps a single large weight among zeros or small ones', () => {
    for (const type of [...LEGACY, ...K_QUANTS]) {
      for (const [peak, rest] of [
        [1, 0],
        [-1, 0],
        [1, 1e-3],
        [-1, 1e-3],
      ]) {
        const data = Float32Array.from({ length: 512 }, (_, i) => (i % 256 === 37 ? peak : i % 2 === 0 ? rest : -rest));
        const decoded = dequantize(ggml(type).quantize(tensor(data, [1, 512]), CONTEXT));
        for (let i = 0; i < 512; i++) expect(Math.abs(decoded[i] - data[i])).toBeLessThan(0.05);
      }
    }
  });

  it('loses less with more bits', () => {
    const error = (type: (typeof K_QUANTS)[number]) =>
      weightedError(weight.data, dequantize(ggml(type).quantize(weight, CONTEXT)), () => 1);
    const errors = K_QUANTS.map(error);
    expect([...errors].sort((a, b) => b - a)).toEqual(errors);
  });
});

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    expect(isHalftoneError(error)).toBe(true);
    return error;
  }
  throw new Error('nothing was thrown');
}

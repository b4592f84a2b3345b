import { dequantize, type QuantizeContext, tensor, unpackCodes } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { expandTable, type FrozenGrid, ggml, roundNearest, rtn } from '../src/index.js';
import { normalWeights } from './weights.js';

const CONTEXT: QuantizeContext = { name: 'w' };
const WEIGHT = tensor(normalWeights(3 * 512, 9), [3, 512]);

describe('expandTable', () => {
  for (const type of ['IQ4_NL', 'IQ4_XS', 'MXFP4', 'NVFP4', 'TQ1_0', 'TQ2_0', 'Q1_0', 'Q2_0'] as const) {
    it(`${type}: step * table[code] is what the reference decoder gives, and roundNearest takes the nearest`, () => {
      const grid = ggml(type).chooseScales(WEIGHT, CONTEXT);
      const { table, steps, groupSize, groupsPerRow } = expandTable(grid);
      const q = roundNearest(WEIGHT, grid, CONTEXT);
      const codes = unpackCodes(q.parts.codes);
      const decoded = dequantize(q);
      for (let i = 0; i < decoded.length; i++) {
        const step = steps[Math.floor(i / 512) * groupsPerRow + Math.floor((i % 512) / groupSize)];
        expect(decoded[i]).toBe(Math.fround(step * table[codes[i]]));
        const best = Math.min(...Array.from(table, (value) => Math.abs(WEIGHT.data[i] - step * value)));
        expect(Math.abs(WEIGHT.data[i] - decoded[i])).toBeLessThanOrEqual(best * (1 + 1e-6) + 1e-9);
      }
    });
  }

  it('takes any order of entries, repeated ones and groups that end early', () => {
    const values = [3, -1, 0, 3, 0.5];
    const grid: FrozenGrid = {
      scheme: {
        name: 'table',
        version: 1,
        grid: { type: 'lookup', bits: 3, vectorLength: 1, stages: 1 },
        granularity: { type: 'group', axis: 1, size: 3 },
      },
      shape: [2, 5],
      parts: {
        codebook: tensor(Float32Array.from(values), [5, 1]),
        scales: tensor(Float32Array.from([1, -2, 0, 0.5]), [2, 2]),
      },
    };
    const weight = tensor(Float32Array.of(2.9, -7, 0.3, 2.1, -6, 1, 2, 3, 0.24, -9), [2, 5]);
    const q = roundNearest(weight, grid, CONTEXT);
    expect([...dequantize(q)]).toEqual([3, -1, 0.5, 2, -6, 0, 0, 0, 0.25, -0.5]);
    expect(unpackCodes(q.parts.codes).every((code) => values.indexOf(values[code]) === code)).toBe(true);
  });

  it('leaves codes that are not finite alone', () => {
    const scheme = {
      name: 'e4m3',
      version: 1,
      grid: { type: 'float', exponent: 4, mantissa: 3, bias: 7 },
      granularity: { type: 'tensor' },
    } as const;
    const grid: FrozenGrid = { scheme, shape: [1, 4], parts: { scales: tensor(Float32Array.of(2), [1]) } };
    const q = roundNearest(tensor(Float32Array.of(1e6, -1e6, 0.1, 3), [1, 4]), grid, CONTEXT);
    expect([...dequantize(q)]).toEqual([896, -896, Math.fround(0.1015625), 3]);
  });

  it('refuses affine grids and vectors', () => {
    for (const grid of [rtn().chooseScales(WEIGHT, CONTEXT), ggml('IQ2_S').chooseScales(WEIGHT, CONTEXT)]) {
      expect(() => expandTable(grid)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
  });
});

import { dequantize, type QuantizeContext, tensor, unpackCodes } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { expandGrid, type GridQuantizer, ggml, roundNearest, rtn } from '../src/index.js';
import { normalWeights } from './weights.js';

const CONTEXT: QuantizeContext = { name: 'w' };
const WEIGHT = tensor(normalWeights(3 * 512, 9), [3, 512]);

describe('expandGrid', () => {
  const quantizers: GridQuantizer[] = [
    ...(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const).map((type) =>
      ggml(type),
    ),
    rtn(),
    rtn({ granularity: 'row', symmetry: 'restricted-range' }),
    rtn({ granularity: 'tensor', bits: 8 }),
    rtn({ granularity: 100, symmetry: 'signed-max' }),
  ];
  for (const quantizer of quantizers) {
    it(`${quantizer.name}: step * code + base is what the reference decoder gives`, () => {
      const q = quantizer.quantize(WEIGHT, CONTEXT);
      const { parts, scheme, shape } = q;
      const grid = expandGrid({ scheme, shape, parts });
      const codes = unpackCodes(parts.codes);
      const decoded = dequantize(q);
      for (let row = 0; row < 3; row++) {
        for (let column = 0; column < 512; column++) {
          const group = row * grid.groupsPerRow + Math.floor(column / grid.groupSize);
          const i = row * 512 + column;
          expect(codes[i]).toBeGreaterThanOrEqual(grid.minCode);
          expect(codes[i]).toBeLessThanOrEqual(grid.maxCode);
          const value = grid.steps[group] * codes[i] + grid.bases[group];
          expect(Math.abs(value - decoded[i])).toBeLessThanOrEqual(1e-6 * Math.abs(value) + 1e-8);
        }
      }
    });
  }

  it('refuses grids that a per-group line cannot express', () => {
    const grid = rtn().chooseScales(WEIGHT, CONTEXT);
    const lookup = { ...grid.scheme, grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } } as const;
    expect(() => expandGrid({ ...grid, scheme: lookup })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    const columns = { ...grid.scheme, granularity: { type: 'group', axis: 0, size: 4 } } as const;
    expect(() => expandGrid({ ...grid, scheme: columns })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    const parts = { ...grid.parts, groupIndex: new Uint32Array(512) };
    expect(() => expandGrid({ ...grid, parts })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });

  it('is the grid that roundNearest rounds to', () => {
    const grid = rtn({ bits: 3, granularity: 64 }).chooseScales(WEIGHT, CONTEXT);
    const other = tensor(normalWeights(3 * 512, 10), [3, 512]);
    const decoded = dequantize(roundNearest(other, grid, CONTEXT));
    const { steps, bases, groupSize, groupsPerRow, minCode, maxCode } = expandGrid(grid);
    for (let i = 0; i < decoded.length; i++) {
      const group = Math.floor(i / 512) * groupsPerRow + Math.floor((i % 512) / groupSize);
      let best = Infinity;
      for (let code = minCode; code <= maxCode; code++) {
        best = Math.min(best, Math.abs(other.data[i] - (steps[group] * code + bases[group])));
      }
      expect(Math.abs(other.data[i] - decoded[i])).toBeLessThanOrEqual(best + 1e-7);
    }
    expect(() => roundNearest(tensor(new Float32Array(4), [2, 2]), grid, CONTEXT)).toThrow(
      expect.objectContaining({ code: 'SHAPE' }),
    );
  });
});

import { dequantize, type QuantizeContext, tensor, toFloat32, unpackCodes } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mseShrink, type RtnOptions, rtn } from '../src/index.js';
import { normalWeights } from './weights.js';

const CONTEXT: QuantizeContext = { name: 'w' };

function quantize(values: readonly number[], options: RtnOptions) {
  const q = rtn({ granularity: 'row', scaleDtype: 'f32', ...options }).quantize(
    tensor(Float32Array.from(values), [1, values.length]),
    CONTEXT,
  );
  const { scales, zeros, codes } = q.parts;
  return {
    codes: [...unpackCodes(codes)],
    scale: toFloat32(scales as never)[0],
    zero: zeros === undefined ? undefined : toFloat32(zeros as never)[0],
    values: [...dequantize(q)],
  };
}

function squaredError(values: Float32Array, options: RtnOptions, context = CONTEXT): number {
  const decoded = dequantize(rtn(options).quantize(tensor(values, [values.length / 256, 256]), context));
  return values.reduce((sum, value, i) => sum + (value - decoded[i]) ** 2, 0);
}

describe('the four conventions', () => {
  it('asymmetric: scale spans the range, zero is an integer code', () => {
    expect(quantize([-1, 0, 2], { bits: 2, symmetry: 'asymmetric' })).toEqual({
      codes: [0, 1, 3],
      scale: 1,
      zero: 1,
      values: [-1, 0, 2],
    });
  });

  it('asymmetric: a range on one side is widened to 0', () => {
    expect(quantize([3, 15], { bits: 4 })).toMatchObject({ codes: [3, 15], scale: 1, zero: 0 });
    expect(quantize([-3, -15], { bits: 4 })).toMatchObject({ codes: [12, 0], scale: 1, zero: 15 });
  });

  it('full-range: scale is 2 absmax / (2^b - 1), all codes are in use', () => {
    expect(quantize([-7.5, 7.5, 1], { bits: 4, symmetry: 'full-range' })).toMatchObject({
      codes: [-8, 7, 1],
      scale: 1,
      zero: undefined,
    });
  });

  it('restricted-range: scale is absmax / (2^(b-1) - 1), the lowest code is not used', () => {
    expect(quantize([-127, 64, 127], { bits: 8, symmetry: 'restricted-range' })).toMatchObject({
      codes: [-127, 64, 127],
      scale: 1,
    });
    const grid = rtn({ bits: 8, granularity: 'row', symmetry: 'restricted-range' });
    const small = tensor(Float32Array.of(-1, 1), [1, 2]);
    const large = tensor(Float32Array.of(-9, 9), [1, 2]);
    const codes = grid.chooseCodes(large, grid.chooseScales(small, CONTEXT), CONTEXT).parts.codes;
    expect([...unpackCodes(codes)]).toEqual([-127, 127]);
  });

  it('signed-max: the value of largest magnitude gets the lowest code', () => {
    expect(quantize([-8, 7, 1], { bits: 4, symmetry: 'signed-max' })).toMatchObject({ codes: [-8, 7, 1], scale: 1 });
    expect(quantize([8, -7, 1], { bits: 4, symmetry: 'signed-max' })).toMatchObject({ codes: [-8, 7, -1], scale: -1 });
  });

  it('rounds ties to the even code', () => {
    expect(quantize([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -7.5, 7.5], { bits: 4, symmetry: 'full-range' }).codes).toEqual([
      0, 2, 2, 0, -2, -2, -8, 7,
    ]);
  });

  it('has no restricted range of 1 bit and no 9 bits', () => {
    expect(() => rtn({ bits: 1, symmetry: 'restricted-range' })).toThrow(expect.objectContaining({ code: 'RANGE' }));
    for (const bits of [0, 9, 2.5]) expect(() => rtn({ bits })).toThrow(expect.objectContaining({ code: 'RANGE' }));
    for (const granularity of [0, -1, 1.5]) {
      expect(() => rtn({ granularity })).toThrow(expect.objectContaining({ code: 'RANGE' }));
    }
  });
});

describe('rtn', () => {
  it('leaves a shorter last group where the columns are not a multiple', () => {
    const values = normalWeights(2 * 10, 2);
    const whole = dequantize(rtn({ granularity: 4 }).quantize(tensor(values, [2, 10]), CONTEXT));
    const q = rtn({ granularity: 4 }).quantize(tensor(values, [2, 10]), CONTEXT);
    expect(q.parts.scales?.shape).toEqual([2, 3]);
    const last = tensor(Float32Array.of(values[8], values[9], values[18], values[19]), [2, 2]);
    const alone = dequantize(rtn({ granularity: 4 }).quantize(last, CONTEXT));
    expect([...alone]).toEqual([whole[8], whole[9], whole[18], whole[19]]);
  });

  it('never errs by more than a step where nothing is clipped', () => {
    const options = fc.record({
      bits: fc.integer({ min: 2, max: 8 }),
      granularity: fc.constantFrom('tensor' as const, 'row' as const, 1, 3, 16, 1000),
      symmetry: fc.constantFrom(
        'asymmetric' as const,
        'full-range' as const,
        'restricted-range' as const,
        'signed-max' as const,
      ),
      scaleDtype: fc.constantFrom('f16' as const, 'bf16' as const, 'f32' as const),
    });
    const shape = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(options, shape, fc.integer(), (chosen, [rows, columns], seed) => {
        const weight = tensor(normalWeights(rows * columns, seed, 0.05), [rows, columns]);
        const quantizer = rtn(chosen);
        const grid = quantizer.chooseScales(weight, CONTEXT);
        const decoded = dequantize(quantizer.chooseCodes(weight, grid, CONTEXT));
        const steps = toFloat32(grid.parts.scales as never);
        const step = Math.max(...steps.map(Math.abs));
        // Half a step by rounding; up to one step and the rounding of the scale where the range is cut at a zero or a sign.
        const limit = step * (1.01 + 2 ** chosen.bits * 2 ** -9);
        for (let i = 0; i < decoded.length; i++)
          expect(Math.abs(decoded[i] - weight.data[i])).toBeLessThanOrEqual(limit);
      }),
      { numRuns: 150 },
    );
  });

  it('chooses codes with the scale as stored', () => {
    const values = normalWeights(256, 4);
    for (const scaleDtype of ['f16', 'bf16'] as const) {
      const options = { bits: 8, granularity: 'row', scaleDtype } as const;
      const q = rtn(options).quantize(tensor(values, [1, 256]), CONTEXT);
      const scale = toFloat32(q.parts.scales as never)[0];
      const zero = toFloat32(q.parts.zeros as never)[0];
      const codes = unpackCodes(q.parts.codes);
      for (let i = 0; i < 256; i++) {
        const nearest = Math.min(255, Math.max(0, values[i] / scale + zero));
        expect(Math.abs(codes[i] - nearest)).toBeLessThanOrEqual(0.5 + 1e-9);
      }
    }
  });

  it('gives groups too small for the scale type its smallest value, and refuses those too large', () => {
    const tiny = rtn({ granularity: 'row' }).quantize(tensor(Float32Array.of(1e-9, 2e-9), [1, 2]), CONTEXT);
    expect(toFloat32(tiny.parts.scales as never)[0]).toBe(2 ** -24);
    const huge = tensor(Float32Array.of(1, 1e9), [1, 2]);
    expect(() => rtn({ granularity: 'row' }).quantize(huge, CONTEXT)).toThrow(/scaleDtype/);
    expect(dequantize(rtn({ granularity: 'row', scaleDtype: 'f32' }).quantize(huge, CONTEXT))[1]).toBeCloseTo(1e9, -4);
  });

  it('loses less with more bits and with smaller groups', () => {
    const values = normalWeights(8 * 256, 5, 0.02);
    const errors = [2, 3, 4, 5, 6, 7, 8].map((bits) => squaredError(values, { bits }));
    expect([...errors].sort((a, b) => b - a)).toEqual(errors);
    expect(squaredError(values, { granularity: 32 })).toBeLessThan(squaredError(values, { granularity: 'row' }));
    expect(squaredError(values, { granularity: 'row' })).toBeLessThan(squaredError(values, { granularity: 'tensor' }));
  });
});

describe('mseShrink', () => {
  const values = normalWeights(16 * 256, 6, 0.02);

  it('never loses to min-max in its own measure and gains at low bits', () => {
    for (const symmetry of ['asymmetric', 'full-range', 'restricted-range', 'signed-max'] as const) {
      const options = { bits: 3, granularity: 64, symmetry } as const;
      expect(squaredError(values, { ...options, fit: mseShrink({ norm: 2 }) })).toBeLessThan(
        squaredError(values, options),
      );
    }
  });

  it('weighs columns by their inputs where told', () => {
    const inputSquares = Float64Array.from({ length: 256 }, (_, i) => (i % 16 === 0 ? 400 : 0.01));
    const context = { name: 'w', statistics: { tokens: 1, inputSquares } };
    const error = (importance: boolean) => {
      const quantizer = rtn({ bits: 3, granularity: 64, fit: mseShrink({ norm: 2, importance }) });
      const decoded = dequantize(quantizer.quantize(tensor(values, [16, 256]), context));
      return values.reduce((sum, value, i) => sum + inputSquares[i % 256] * (value - decoded[i]) ** 2, 0);
    };
    expect(error(true)).toBeLessThan(error(false));
    expect(() => rtn({ fit: mseShrink({ importance: true }) }).quantize(tensor(values, [16, 256]), CONTEXT)).toThrow(
      /inputSquares/,
    );
  });

  it('refuses options without meaning', () => {
    for (const options of [{ grid: 0 }, { maxShrink: 1 }, { maxShrink: -0.1 }, { norm: 0 }]) {
      expect(() => mseShrink(options)).toThrow(expect.objectContaining({ code: 'RANGE' }));
    }
  });
});

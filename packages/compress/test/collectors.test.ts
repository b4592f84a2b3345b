import type { Collector } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collectorFor, hessian, inputAbsMax, inputAbsMean, inputSquares } from '../src/collectors.js';

const FEATURES = 5;

/** Rows of small whole numbers, whose sums are exact in any order. */
const rows = fc
  .integer({ min: 1, max: 11 })
  .chain((count) =>
    fc.array(fc.integer({ min: -50, max: 50 }), { minLength: count * FEATURES, maxLength: count * FEATURES }),
  )
  .map((values) => Float32Array.from(values));

function collect<State>(collector: Collector<State>, ...parts: Float32Array[]) {
  const states = parts.map((part) => {
    const state = collector.init(FEATURES);
    collector.update(state, part, part.length / FEATURES);
    return state;
  });
  const [first, ...rest] = states;
  for (const state of rest) collector.merge(first, state);
  return collector.finish(first);
}

function column(x: Float32Array, index: number): number[] {
  return [...x].filter((_, i) => i % FEATURES === index);
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('collectors', () => {
  it('agree with their definitions', () => {
    fc.assert(
      fc.property(rows, (x) => {
        const { hessian: H, tokens } = collect(hessian(), x);
        expect(tokens).toBe(x.length / FEATURES);
        for (let i = 0; i < FEATURES; i++) {
          const xi = column(x, i);
          for (let j = 0; j < FEATURES; j++) {
            const xj = column(x, j);
            expect(H?.[i * FEATURES + j]).toBeCloseTo(mean(xi.map((value, row) => value * xj[row])), 9);
          }
          expect(collect(inputSquares(), x).inputSquares?.[i]).toBeCloseTo(mean(xi.map((value) => value ** 2)), 9);
          expect(collect(inputAbsMean(), x).inputAbsMean?.[i]).toBeCloseTo(mean(xi.map(Math.abs)), 9);
          expect(collect(inputAbsMax(), x).inputAbsMax?.[i]).toBe(Math.max(...xi.map(Math.abs)));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('merge to what one pass over everything gives', () => {
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        const both = Float32Array.of(...a, ...b);
        for (const create of [hessian, inputSquares, inputAbsMean, inputAbsMax]) {
          const collector = create() as Collector;
          expect(collect(collector, a, b)).toEqual(collect(collector, both));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('are found by the name that quantizers declare', () => {
    expect(collectorFor('hessian').name).toBe('hessian');
    expect(() => collectorFor('kurtosis' as 'hessian')).toThrow(/no collector for the statistic 'kurtosis'/);
  });
});

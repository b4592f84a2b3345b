import { HalftoneError } from '@halftone/tensor';
import { type AffineRule, affineParameters, ROUNDING_MAGIC } from './affine-rule.js';
import { fitMinMax } from './fit-min-max.js';
import type { RangeFit } from './range-fit.js';

export interface MseShrinkOptions {
  /** Candidate ranges are `(1 - i / grid)` times the full one. */
  readonly grid?: number;
  /** Largest shrink tried: `i <= maxShrink * grid`. */
  readonly maxShrink?: number;
  /** Exponent of the error. Values other than 2 cost a `Math.pow` for each weight and candidate. */
  readonly norm?: number;
  /** Weighs each column's error by `statistics.inputSquares`. */
  readonly importance?: boolean;
}

export const MSE_SHRINK_DEFAULTS = { grid: 100, maxShrink: 0.8, norm: 2.4, importance: false } as const;

/**
 * Clips the range to lower the sum of `|error|^norm`. Both ends shrink together; the full range is among the candidates.
 * Cost: `maxShrink * grid` roundings of each group, cut short once a candidate is worse than the best.
 * Source: GPTQ's `Quantizer.find_params` with `mse=True` (arXiv 2210.17323); there the end point itself is not tried.
 */
export function mseShrink(options: MseShrinkOptions = {}): RangeFit {
  const { grid, maxShrink, norm, importance } = { ...MSE_SHRINK_DEFAULTS, ...options };
  if (!(Number.isInteger(grid) && grid >= 1 && maxShrink >= 0 && maxShrink < 1 && norm > 0)) {
    throw new HalftoneError(
      'RANGE',
      `grid ${grid}, maxShrink ${maxShrink}, norm ${norm}; need grid >= 1, 0 <= maxShrink < 1, norm > 0`,
      {
        where: 'mseShrink',
      },
    );
  }
  const candidates = Math.floor(maxShrink * grid + 1e-9);
  const trial = new Float64Array(2);
  return {
    name: 'mse-shrink',
    needs: importance ? ['inputSquares'] : [],
    fit(values, start, end, squares, column, rule, range) {
      fitMinMax(values, start, end, squares, column, rule, range);
      const min = range[0];
      const max = range[1];
      const weights = importance ? squares : undefined;
      let best = Infinity;
      let bestShare = 1;
      for (let i = 0; i <= candidates; i++) {
        const share = 1 - i / grid;
        affineParameters(rule, share * min, share * max, trial);
        const error = groupError(values, start, end, weights, column, rule, trial[0], trial[1], norm, best);
        if (error < best) {
          best = error;
          bestShare = share;
        }
      }
      range[0] = bestShare * min;
      range[1] = bestShare * max;
    },
  };
}

/** Stops early and answers a value not below `limit` once the sum has reached it. */
function groupError(
  values: Float32Array,
  start: number,
  end: number,
  weights: Float64Array | undefined,
  column: number,
  rule: AffineRule,
  scale: number,
  zero: number,
  norm: number,
  limit: number,
): number {
  const low = rule.minCode - zero;
  const high = rule.maxCode - zero;
  const inverse = 1 / scale;
  let sum = 0;
  for (let i = start; i < end && sum < limit; i++) {
    const value = values[i];
    let code = value * inverse;
    code = code < low ? low : code > high ? high : code;
    code = code + ROUNDING_MAGIC - ROUNDING_MAGIC;
    const error = Math.abs(code * scale - value);
    const cost = norm === 2 ? error * error : error ** norm;
    sum += weights === undefined ? cost : cost * weights[column + i - start];
  }
  return sum;
}

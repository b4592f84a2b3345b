/**
 * Weighted least-squares fit of `x ≈ scale * code` for one group over a ladder of trial scales, by the same prefix sums as
 * `scanAffine`. The candidates are those of ggml's make_qx_quants and make_qp_quants (ggml-quants.c).
 */

import type { Ladder } from './affine-scan.js';
import { largestValue } from './largest-magnitude.js';

/** Groups whose largest magnitude is below this count as zero, as in ggml. */
const NEGLIGIBLE = 1e-15;

/**
 * Fits `x[start .. start + size)` under weights `w`. Trial `k` divides by `absmax / (limit + first + k * step)`.
 * Values with the sign of the one of largest magnitude get up to `limit` steps, the others up to `oppositeLimit`.
 * Writes `[scale, sum of w code²]` to `fit` from `at` on; `scale` carries the sign of the value of largest magnitude.
 */
export function scanSymmetric(
  x: Float64Array,
  w: Float64Array,
  start: number,
  size: number,
  limit: number,
  oppositeLimit: number,
  ladder: Ladder,
  buckets: Float64Array,
  fit: Float64Array,
  at: number,
): void {
  const end = start + size;
  const peak = largestValue(x, start, end);
  const absmax = Math.abs(peak);
  fit[at] = 0;
  fit[at + 1] = 0;
  if (absmax < NEGLIGIBLE) return;

  const { first, step, count } = ladder;
  const sign = peak < 0 ? -1 : 1;
  const lowest = limit + first;
  const initial = lowest / absmax;
  const rungsPerCode = absmax / step;
  const rungOfZero = lowest / step;
  const lastRung = count - 1;
  buckets.fill(0, 0, 2 * count);
  let sumXL = 0;
  let sumL2 = 0;
  for (let i = start; i < end; i++) {
    const signed = x[i] * sign;
    const magnitude = Math.abs(signed);
    const highest = signed < 0 ? oppositeLimit : limit;
    const wi = w[i];
    const wx = wi * magnitude;
    let code = (magnitude * initial + 0.5) | 0;
    if (code > highest) code = highest;
    sumXL += wx * code;
    sumL2 += wi * code * code;
    const spacing = rungsPerCode / magnitude;
    let rung = (code + 0.5) * spacing - rungOfZero;
    while (rung < lastRung && code < highest) {
      const bucket = rung < 0 ? 0 : 2 * ((rung | 0) + 1);
      buckets[bucket] += wx;
      buckets[bucket + 1] += wi * (2 * code + 1);
      code++;
      rung += spacing;
    }
  }

  let bestXL = 0;
  let bestL2 = 0;
  for (let k = 0; k < 2 * count; k += 2) {
    sumXL += buckets[k];
    sumL2 += buckets[k + 1];
    if (sumXL * sumXL * bestL2 > bestXL * bestXL * sumL2 || bestL2 === 0) {
      bestXL = sumXL;
      bestL2 = sumL2;
    }
  }
  if (bestL2 === 0) return;
  fit[at] = (sign * bestXL) / bestL2;
  fit[at + 1] = bestL2;
}

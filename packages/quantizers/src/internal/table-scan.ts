/**
 * Weighted least-squares fit of `x ≈ scale * table[code]` for one group over a ladder of trial scales, by the same prefix sums
 * as `scanAffine`: from one trial to the next only the values that cross the midpoint of two entries change their code.
 */

import type { Ladder } from './affine-scan.js';
import { largestValue } from './largest-magnitude.js';

/** Groups whose largest magnitude is below this count as zero, as in ggml. */
const NEGLIGIBLE = 1e-15;

/** A table of values in rising order with what the scan needs of it. */
export interface ScanTable {
  readonly values: Float64Array;
  /** `[i]` lies half-way between entries i and i + 1. */
  readonly midpoints: Float64Array;
}

export function scanTable(values: readonly number[]): ScanTable {
  return {
    values: Float64Array.from(values),
    midpoints: Float64Array.from({ length: values.length - 1 }, (_, i) => (values[i] + values[i + 1]) / 2),
  };
}

/**
 * Fits `x[start .. start + size)` under weights `w`. In trial `k` of the first ladder the value of largest magnitude becomes
 * `-(first + k * step)`, in the second ladder `first + k * step`; all take the nearest entry.
 * Writes `[scale, sum of w entry²]` to `fit` from `at` on.
 */
export function scanTableScales(
  x: Float64Array,
  w: Float64Array,
  start: number,
  size: number,
  table: ScanTable,
  ladders: readonly [negative: Ladder, positive: Ladder],
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
  const { values, midpoints } = table;
  const last = midpoints.length;
  let bestQX = 0;
  let bestQ2 = 0;
  for (let orientation = 0; orientation < 2; orientation++) {
    const { first, step, count } = ladders[orientation];
    const sign = orientation === 0 ? -Math.sign(peak) : Math.sign(peak);
    const factor = (sign * first) / absmax;
    const rungsPerUnit = absmax / step;
    const rungOfZero = first / step;
    const lastRung = count - 1;
    buckets.fill(0, 0, 2 * count);
    let qx = 0;
    let q2 = 0;
    for (let i = start; i < end; i++) {
      const scaled = x[i] * factor;
      const wi = w[i];
      const wx = wi * x[i] * sign;
      let code = 0;
      while (code < last && scaled >= midpoints[code]) code++;
      let value = values[code];
      qx += wx * value;
      q2 += wi * value * value;
      // Larger trials move the value away from zero.
      const up = scaled > 0 ? 1 : -1;
      const spacing = rungsPerUnit / Math.abs(x[i]);
      while (up > 0 ? code < last : code > 0) {
        const midpoint = midpoints[up > 0 ? code : code - 1];
        const rung = Math.abs(midpoint) * spacing - rungOfZero;
        // The midpoint on the far side of zero is never crossed.
        if (!(rung < lastRung) || midpoint * up < 0) break;
        code += up;
        const next = values[code];
        const bucket = rung < 0 ? 0 : 2 * ((rung | 0) + 1);
        buckets[bucket] += wx * (next - value);
        buckets[bucket + 1] += wi * (next * next - value * value);
        value = next;
      }
    }
    for (let k = 0; k < 2 * count; k += 2) {
      qx += buckets[k];
      q2 += buckets[k + 1];
      if (qx > 0 && (bestQ2 === 0 || qx * qx * bestQ2 > bestQX * bestQX * q2)) {
        bestQX = qx;
        bestQ2 = q2;
        fit[at] = (sign * qx) / q2;
        fit[at + 1] = q2;
      }
    }
  }
}

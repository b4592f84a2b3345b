/**
 * Weighted least-squares fit of `x ≈ scale * code - minimum` for one group, over a ladder of trial scales.
 *
 * Trial `k` takes codes `round((x - min) * (levels + first + k * step) / (max - min))` and solves for scale and minimum;
 * the trial with the least weighted squared error wins. These are the candidates of ggml's make_qkx2/3_quants
 * (ggml-quants.c). Here the sums over codes are not recomputed for each trial: from one trial to the next only codes that
 * cross a rounding boundary change, about one a weight over the whole ladder, so each crossing is put into the bucket of its
 * trial and the trials are read off by prefix sums.
 */

/** Trial scales: `levels + first + k * step` for `k` in `0 .. count - 1`. `first` is below 0.5. */
export interface Ladder {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

/** Sums over a group at the winning trial; a fit writes one row of these for each group. */
export const FIT = {
  scale: 0,
  /** The fitted line is `scale * code - minimum`. */
  minimum: 1,
  weight: 2,
  weightX: 3,
  weightCode: 4,
  weightCode2: 5,
  length: 6,
} as const;

/** Scratch memory for ladders of up to `count` trials. */
export function scanBuckets(count: number): Float64Array {
  return new Float64Array(3 * count);
}

/**
 * Fits `x[start .. start + size)` under weights `w` and writes `FIT` fields to `fit` from `at` on.
 * With `minimumAtLeastZero` the line passes at or below 0 at code 0, as K-quants store it.
 */
export function scanAffine(
  x: Float64Array,
  w: Float64Array,
  start: number,
  size: number,
  levels: number,
  ladder: Ladder,
  minimumAtLeastZero: boolean,
  buckets: Float64Array,
  fit: Float64Array,
  at: number,
): void {
  const end = start + size;
  let min = x[start];
  let max = min;
  let sumW = 0;
  let sumX = 0;
  for (let i = start; i < end; i++) {
    const xi = x[i];
    const wi = w[i];
    if (xi < min) min = xi;
    if (xi > max) max = xi;
    sumW += wi;
    sumX += wi * xi;
  }
  if (minimumAtLeastZero && min > 0) min = 0;
  fit[at + FIT.weight] = sumW;
  fit[at + FIT.weightX] = sumX;
  fit[at + FIT.weightCode] = 0;
  fit[at + FIT.weightCode2] = 0;
  fit[at + FIT.minimum] = -min;
  fit[at + FIT.scale] = 0;
  if (!(max > min)) return;

  const { first, step, count } = ladder;
  // Gains (how far a trial lowers the weighted squared error below the sum of w x²) are compared as fractions.
  let bestGain = 0;
  let bestDivisor = 1;
  let bestL = 0;
  let bestL2 = 0;
  let bestXL = 0;
  let bestThroughZero = false;
  let origin = min;
  for (let pass = 0; pass < 2; pass++) {
    const range = max - origin;
    const lowest = levels + first;
    const initial = lowest / range;
    const rungsPerCode = range / step;
    const rungOfZero = lowest / step;
    const lastRung = count - 1;
    buckets.fill(0, 0, 3 * count);
    let sumL = 0;
    let sumL2 = 0;
    let sumXL = 0;
    for (let i = start; i < end; i++) {
      const xi = x[i];
      const wi = w[i];
      const distance = xi - origin;
      if (!(distance > 0)) continue;
      let code = (distance * initial + 0.5) | 0;
      const wl = wi * code;
      sumL += wl;
      sumL2 += wl * code;
      sumXL += wl * xi;
      // At rung k the code has become c + 1 once distance * (lowest + k * step) / range >= c + 0.5.
      const spacing = rungsPerCode / distance;
      let rung = (code + 0.5) * spacing - rungOfZero;
      while (rung < lastRung && code < levels) {
        const bucket = rung < 0 ? 0 : 3 * ((rung | 0) + 1);
        buckets[bucket] += wi;
        buckets[bucket + 1] += wi * (2 * code + 1);
        buckets[bucket + 2] += wi * xi;
        code++;
        rung += spacing;
      }
    }
    let improved = false;
    for (let k = 0; k < 3 * count; k += 3) {
      sumL += buckets[k];
      sumL2 += buckets[k + 1];
      sumXL += buckets[k + 2];
      const determinant = sumW * sumL2 - sumL * sumL;
      let gain = sumXL * sumXL;
      let divisor = sumL2;
      let throughZero = true;
      if (determinant > 1e-12 * sumW * sumL2 && !(minimumAtLeastZero && sumL2 * sumX > sumL * sumXL)) {
        gain = sumW * gain - (2 * sumL * sumXL - sumL2 * sumX) * sumX;
        divisor = determinant;
        throughZero = false;
      }
      if (gain * bestDivisor > bestGain * divisor) {
        bestGain = gain;
        bestDivisor = divisor;
        bestL = sumL;
        bestL2 = sumL2;
        bestXL = sumXL;
        bestThroughZero = throughZero;
        improved = true;
      }
    }
    if (bestL2 === 0) {
      fit[at + FIT.scale] = range / levels;
      return;
    }
    if (!improved) break;
    // The next pass measures codes from the line's own zero.
    origin = bestThroughZero ? 0 : (bestL2 * sumX - bestL * bestXL) / bestDivisor;
    if (!(max > origin)) break;
  }
  if (bestThroughZero) {
    fit[at + FIT.scale] = bestXL / bestL2;
    fit[at + FIT.minimum] = 0;
  } else {
    fit[at + FIT.scale] = (sumW * bestXL - sumX * bestL) / bestDivisor;
    fit[at + FIT.minimum] = (bestL * bestXL - bestL2 * sumX) / bestDivisor;
  }
  fit[at + FIT.weightCode] = bestL;
  fit[at + FIT.weightCode2] = bestL2;
}

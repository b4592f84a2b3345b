/**
 * Streaming mean and variance. Sources: Welford 1962; Chan, Golub and LeVeque 1983 for merging.
 */

/** Plain data: may be stored as JSON and goes through `structuredClone`. */
export interface Moments {
  count: number;
  mean: number;
  /** Sum of squared distances from the mean. */
  squares: number;
}

export function createMoments(): Moments {
  return { count: 0, mean: 0, squares: 0 };
}

export function addValue(moments: Moments, value: number): void {
  moments.count++;
  const delta = value - moments.mean;
  moments.mean += delta / moments.count;
  moments.squares += delta * (value - moments.mean);
}

export function addValues(moments: Moments, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) addValue(moments, values[i] as number);
}

/** Adds what `from` has seen to `into`, as if `into` had seen it itself. */
export function mergeMoments(into: Moments, from: Moments): void {
  if (from.count === 0) return;
  const count = into.count + from.count;
  const delta = from.mean - into.mean;
  into.squares += from.squares + delta * delta * ((into.count * from.count) / count);
  into.mean += (delta * from.count) / count;
  into.count = count;
}

/** Variance with the divisor `count - correction`. Default 1, the unbiased estimate; NaN with too few values. */
export function variance(moments: Moments, correction: 0 | 1 = 1): number {
  return moments.count > correction ? moments.squares / (moments.count - correction) : NaN;
}

/** Standard error of the mean of independent values. NaN below two values. */
export function standardError(moments: Moments): number {
  return Math.sqrt(variance(moments) / moments.count);
}

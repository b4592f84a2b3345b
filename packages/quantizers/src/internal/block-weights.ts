/**
 * Weights of the squared error inside a block, after ggml-quants.c: with an importance vector `importance * sqrt(variance + x²)`,
 * without one a heuristic of each type.
 */

/** A group whose importances are all zero is fitted with equal weights of this size: too small to matter to its neighbours. */
const UNIMPORTANT = 1e-30;

/** `w[i] = importance[i] * sqrt(variance + x[i]²)` for `size` values. */
export function importanceWeights(
  x: Float64Array,
  importance: Float64Array,
  column: number,
  variance: number,
  start: number,
  size: number,
  w: Float64Array,
): void {
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const xi = x[start + i];
    const wi = importance[column + i] * Math.sqrt(variance + xi * xi);
    w[start + i] = wi;
    sum += wi;
  }
  if (sum === 0) w.fill(UNIMPORTANT, start, start + size);
}

/** `w[i] = floor * rms + |x[i]|`, with the root mean square of the group. */
export function magnitudeWeights(x: Float64Array, start: number, size: number, w: Float64Array, floor: number): void {
  const base = floor * Math.sqrt(sumOfSquares(x, start, size) / size);
  for (let i = start; i < start + size; i++) w[i] = base + Math.abs(x[i]);
}

export function sumOfSquares(x: Float64Array, start: number, size: number): number {
  let sum = 0;
  for (let i = start; i < start + size; i++) sum += x[i] * x[i];
  return sum;
}

/** `w[i] = x[i]² + floor * mean square` of the group. */
export function squareWeights(x: Float64Array, start: number, size: number, w: Float64Array, floor: number): void {
  const base = (floor * sumOfSquares(x, start, size)) / size;
  for (let i = start; i < start + size; i++) w[i] = base + x[i] * x[i];
}

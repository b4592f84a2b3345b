import type { FloatArray } from '../internal/algebra/operands.js';

/** Adds `xᵀ x` to the lower triangle of `g`, for `x` `[rows, n]`. Sums are float64. */
export function plainSyrk(x: FloatArray, rows: number, n: number, g: FloatArray): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let row = 0; row < rows; row++) sum += x[row * n + i] * x[row * n + j];
      g[i * n + j] += sum;
    }
  }
}

/** Rows and columns copied together, so that both ends stay in the cache. */
const TILE = 32;

/** Copies the lower triangle of an `[n, n]` matrix to the upper. */
export function mirrorLower(g: FloatArray, n: number): void {
  for (let top = 0; top < n; top += TILE) {
    for (let left = 0; left <= top; left += TILE) {
      for (let i = top; i < Math.min(top + TILE, n); i++) {
        for (let j = left; j < Math.min(left + TILE, i); j++) g[j * n + i] = g[i * n + j];
      }
    }
  }
}

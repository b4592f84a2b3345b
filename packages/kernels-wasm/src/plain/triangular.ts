import type { FloatArray } from '../internal/algebra/operands.js';
import type { TriangularSystem } from '../linear-algebra.js';

/** Solves `op(t) x = alpha b` or `x op(t) = alpha b` in place, each vector alone. Sums are float64. */
export function plainSolveTriangular(system: TriangularSystem, t: FloatArray, b: FloatArray): void {
  const { n, vectors, side = 'left', triangle = 'lower', transpose = false, alpha = 1 } = system;
  // On the right, a vector is a row of b, and the equation is that of the transpose.
  const right = side === 'right';
  const [row, column] = transpose !== right ? [1, n] : [n, 1];
  const [unknown, vector] = right ? [1, n] : [vectors, 1];
  const forward = (triangle === 'lower') !== (transpose !== right);
  for (let v = 0; v < vectors; v++) {
    for (let step = 0; step < n; step++) {
      const i = forward ? step : n - 1 - step;
      let sum = alpha * b[i * unknown + v * vector];
      for (let other = 0; other < step; other++) {
        const k = forward ? other : n - 1 - other;
        sum -= t[i * row + k * column] * b[k * unknown + v * vector];
      }
      b[i * unknown + v * vector] = sum / t[i * n + i];
    }
  }
}

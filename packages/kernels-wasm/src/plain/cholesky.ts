import { HalftoneError } from '@halftone/tensor';
import type { FloatArray } from '../internal/algebra/operands.js';
import { mirrorLower } from './syrk.js';

/** Puts the lower Cholesky factor in the place of `a`, of which it reads the lower triangle. Sums are float64. */
export function plainCholesky(a: FloatArray, n: number): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = a[i * n + j];
      for (let k = 0; k < j; k++) rest -= a[i * n + k] * a[j * n + k];
      if (i === j && !(rest > 0 && rest < Infinity)) throw notPositiveDefinite('cholesky', i, rest);
      a[i * n + j] = i === j ? Math.sqrt(rest) : rest / a[j * n + j];
    }
  }
  clearUpper(a, n);
}

/** Puts the inverse of the lower triangle of `l` in the place of `l`. Sums are float64. */
export function plainInvertLower(l: FloatArray, n: number): void {
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = i === j ? 1 : 0;
      // Column j is the inverse's above row i; columns to its right are still those of l.
      for (let k = j; k < i; k++) sum -= l[i * n + k] * l[k * n + j];
      l[i * n + j] = sum / l[i * n + i];
    }
  }
  clearUpper(l, n);
}

/** Puts the inverse in the place of `a`, of which it reads the lower triangle. Sums are float64. */
export function plainInvertPositiveDefinite(a: FloatArray, n: number): void {
  plainCholesky(a, n);
  plainInvertLower(a, n);
  // With M = L⁻¹ the inverse is Mᵀ M. What comes later needs no row above its own, nor a column to the left.
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = i; k < n; k++) sum += a[k * n + i] * a[k * n + j];
      a[i * n + j] = sum;
    }
  }
  mirrorLower(a, n);
}

/** Zeros above the diagonal. */
export function clearUpper(values: FloatArray, n: number): void {
  for (let i = 0; i < n; i++) values.fill(0, i * n + i + 1, (i + 1) * n);
}

export function notPositiveDefinite(where: string, pivot: number, value: number): HalftoneError {
  const fix = 'add to the diagonal (more damping), or remove inputs that are constant or repeated';
  return new HalftoneError('NUMERIC', `matrix is not positive definite: pivot ${pivot} is ${value}; ${fix}`, {
    where,
    details: { pivot, value },
  });
}

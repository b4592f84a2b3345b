import { dampReversed } from '../internal/algebra/inverse-factor.js';
import type { FloatArray } from '../internal/algebra/operands.js';
import { plainCholesky, plainInvertLower } from './cholesky.js';

/** Puts the upper factor of the inverse of `h` with more on its diagonal in the place of `h`. Sums are float64. */
export function plainUpperOfInverse(h: FloatArray, n: number, damping: number): void {
  dampReversed(h, n, damping);
  plainCholesky(h, n);
  plainInvertLower(h, n);
  h.reverse();
}

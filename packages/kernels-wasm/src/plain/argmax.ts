import { checkSelection, notANumber } from '../internal/operation-checks.js';

/** The index of the largest value, the first of equals. */
export function argmax(x: Float32Array): number {
  checkSelection('argmax', x, 1);
  let best = 0;
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i])) throw notANumber('argmax', x);
    if (x[i] > x[best]) best = i;
  }
  return best;
}

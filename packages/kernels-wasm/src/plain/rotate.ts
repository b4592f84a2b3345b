import { checkRotation } from '../internal/operation-checks.js';

/** Rotary position embedding in place (arXiv 2104.09864): channel `i` of a head turns with channel `i + pairs`. */
export function rotate(
  x: Float32Array,
  rowIndex: Int32Array,
  heads: number,
  pairs: number,
  cosines: Float32Array,
  sines: Float32Array,
): void {
  checkRotation('rotate', x, rowIndex, heads, pairs, cosines, sines);
  turn(x, rowIndex, heads, pairs, cosines, sines, 1, pairs);
}

/** The same with pairs of neighbours: channel `2 i` of a head turns with channel `2 i + 1`. */
export function rotateInterleaved(
  x: Float32Array,
  rowIndex: Int32Array,
  heads: number,
  pairs: number,
  cosines: Float32Array,
  sines: Float32Array,
): void {
  checkRotation('rotateInterleaved', x, rowIndex, heads, pairs, cosines, sines);
  turn(x, rowIndex, heads, pairs, cosines, sines, 2, 1);
}

/** `step` from pair to pair, `apart` within one. */
function turn(
  x: Float32Array,
  rowIndex: Int32Array,
  heads: number,
  pairs: number,
  cosines: Float32Array,
  sines: Float32Array,
  step: number,
  apart: number,
): void {
  for (let row = 0, start = 0; row < rowIndex.length; row++) {
    for (let head = 0; head < heads; head++, start += 2 * pairs) {
      for (let pair = 0; pair < pairs; pair++) {
        const cosine = cosines[rowIndex[row] * pairs + pair];
        const sine = sines[rowIndex[row] * pairs + pair];
        const at = start + step * pair;
        const a = x[at];
        const b = x[at + apart];
        x[at] = a * cosine - b * sine;
        x[at + apart] = b * cosine + a * sine;
      }
    }
  }
}

import { checkSoftmax } from '../internal/operation-checks.js';

/** Probabilities of each row of `x * factor`. `out` may be `x`. */
export function softmax(x: Float32Array, rows: number, features: number, out: Float32Array, factor = 1): void {
  checkSoftmax(x, rows, features, out);
  const scale = Math.fround(factor);
  for (let row = 0, start = 0; row < rows; row++, start += features) {
    let largest = -Infinity;
    for (let i = 0; i < features; i++) {
      out[start + i] = x[start + i] * scale;
      largest = Math.max(largest, out[start + i]);
    }
    let sum = 0;
    for (let i = 0; i < features; i++) sum += Math.exp(out[start + i] - largest);
    for (let i = 0; i < features; i++) out[start + i] = Math.exp(out[start + i] - largest) / sum;
  }
}

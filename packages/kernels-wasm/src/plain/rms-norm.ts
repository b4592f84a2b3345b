import { checkNorm } from '../internal/operation-checks.js';

/** RMSNorm of rows: `out = x / sqrt(mean(x^2) + epsilon) * gain` (arXiv 1910.07467). `out` may be `x`. */
export function rmsNorm(
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  epsilon: number,
  out: Float32Array,
): void {
  checkNorm('rmsNorm', x, rows, features, gain, undefined, out);
  for (let row = 0, start = 0; row < rows; row++, start += features) {
    let squares = 0;
    for (let i = 0; i < features; i++) squares += x[start + i] * x[start + i];
    const scale = 1 / Math.sqrt(squares / features + epsilon);
    for (let i = 0; i < features; i++) out[start + i] = x[start + i] * scale * gain[i];
  }
}

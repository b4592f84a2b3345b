import { checkNorm } from '../internal/operation-checks.js';

/** LayerNorm of rows: `out = (x - mean) / sqrt(variance + epsilon) * gain + bias` (arXiv 1607.06450). `out` may be `x`. */
export function layerNorm(
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  bias: Float32Array | undefined,
  epsilon: number,
  out: Float32Array,
): void {
  checkNorm('layerNorm', x, rows, features, gain, bias, out);
  for (let row = 0, start = 0; row < rows; row++, start += features) {
    let sum = 0;
    for (let i = 0; i < features; i++) sum += x[start + i];
    const mean = sum / features;
    let squares = 0;
    for (let i = 0; i < features; i++) squares += (x[start + i] - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / features + epsilon);
    for (let i = 0; i < features; i++) {
      const normal = (x[start + i] - mean) * scale * gain[i];
      out[start + i] = bias === undefined ? normal : normal + bias[i];
    }
  }
}

import { checkNormSizes } from './internal/norm-sizes.js';
import type { Norm } from './norm.js';

/**
 * RMSNorm: `out = x / sqrt(mean(x^2) + epsilon) * gain`, each row alone.
 *
 * `x` and `out` hold at least `rows * features` float32 values, row-major; `out` may be `x`. Sums are in float64.
 * Models that store `gain - 1` (Gemma) must add 1 when they load it. Throws `SHAPE` for sizes that do not fit.
 * Source: Zhang and Sennrich, arXiv 1910.07467.
 */
export function rmsNorm(
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  epsilon: number,
  out: Float32Array,
): void {
  checkNormSizes('rmsNorm', x, rows, features, gain, undefined, out);
  for (let row = 0, start = 0; row < rows; row++, start += features) {
    let squares = 0;
    for (let i = 0; i < features; i++) {
      const value = x[start + i];
      squares += value * value;
    }
    const scale = 1 / Math.sqrt(squares / features + epsilon);
    for (let i = 0; i < features; i++) out[start + i] = x[start + i] * scale * gain[i];
  }
}

/** `rmsNorm` as a `Norm`. Ignores `bias`, which RMSNorm does not have. */
export const RMS_NORM: Norm = {
  name: 'rms',
  forward: (x, rows, features, { gain, epsilon }, out) => rmsNorm(x, rows, features, gain, epsilon, out),
};

import { checkNormSizes } from './internal/norm-sizes.js';
import type { Norm } from './norm.js';

/**
 * LayerNorm: `out = (x - mean(x)) / sqrt(var(x) + epsilon) * gain + bias`, each row alone, with the biased variance.
 *
 * `x` and `out` hold at least `rows * features` float32 values, row-major; `out` may be `x`. Sums are in float64 and the
 * variance takes a second pass, so that a mean much larger than the deviation costs no precision.
 * Throws `SHAPE` for sizes that do not fit. Source: Ba, Kiros and Hinton, arXiv 1607.06450.
 */
export function layerNorm(
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  bias: Float32Array | undefined,
  epsilon: number,
  out: Float32Array,
): void {
  checkNormSizes('layerNorm', x, rows, features, gain, bias, out);
  for (let row = 0, start = 0; row < rows; row++, start += features) {
    let sum = 0;
    for (let i = 0; i < features; i++) sum += x[start + i];
    const mean = sum / features;
    let squares = 0;
    for (let i = 0; i < features; i++) {
      const deviation = x[start + i] - mean;
      squares += deviation * deviation;
    }
    const scale = 1 / Math.sqrt(squares / features + epsilon);
    if (bias === undefined) {
      for (let i = 0; i < features; i++) out[start + i] = (x[start + i] - mean) * scale * gain[i];
    } else {
      for (let i = 0; i < features; i++) out[start + i] = (x[start + i] - mean) * scale * gain[i] + bias[i];
    }
  }
}

/** `layerNorm` as a `Norm`. */
export const LAYER_NORM: Norm = {
  name: 'layer',
  forward: (x, rows, features, { gain, bias, epsilon }, out) => layerNorm(x, rows, features, gain, bias, epsilon, out),
};

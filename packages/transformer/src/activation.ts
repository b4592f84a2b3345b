import type { ActivationName } from '@halftone/tensor';

/** Applies an activation in place, and multiplies by `factor` where one is given (gated MLPs). */
export function activate(name: ActivationName, x: Float32Array, length: number, factor?: Float32Array): void {
  switch (name) {
    case 'silu':
      for (let i = 0; i < length; i++) x[i] = x[i] / (1 + Math.exp(-x[i]));
      break;
    case 'gelu':
      for (let i = 0; i < length; i++) x[i] = gelu(x[i]);
      break;
    case 'gelu_tanh':
      for (let i = 0; i < length; i++) x[i] = geluTanh(x[i]);
      break;
  }
  if (factor !== undefined) for (let i = 0; i < length; i++) x[i] *= factor[i];
}

/** GELU by the error function (arXiv 1606.08415). */
export function gelu(x: number): number {
  return x * normalDistribution(x);
}

/** GELU's tanh approximation, which GPT-2 was trained with. */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
}

/**
 * The standard normal distribution function to about 1e-14 relative to the smaller tail: the series
 * `1/2 + phi(x) (x + x^3/3 + x^5/15 + ...)` near zero, and the continued fraction of Mills' ratio in the tails.
 */
function normalDistribution(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  if (size > 38) return x > 0 ? 1 : 0;
  const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let term = x;
    let sum = x;
    for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) {
      term *= (x * x) / n;
      sum += term;
    }
    return 0.5 + density * sum;
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / fraction;
  const tail = density / fraction;
  return x > 0 ? 1 - tail : tail;
}

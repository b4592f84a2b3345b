import type { ActivationName } from '@halftone/tensor';
import { checkActivation } from '../internal/operation-checks.js';

/** `x = activation(x) * factor` in place; without `factor`, the activation alone. It is rounded to float32 before the product. */
export function activate(name: ActivationName, x: Float32Array, length: number, factor?: Float32Array): void {
  checkActivation(name, x, length, factor);
  const activation = name === 'silu' ? silu : name === 'gelu' ? gelu : geluTanh;
  for (let i = 0; i < length; i++) x[i] = activation(x[i]);
  if (factor !== undefined) for (let i = 0; i < length; i++) x[i] *= factor[i];
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

/** GELU by the error function (arXiv 1606.08415). */
function gelu(x: number): number {
  const tail = normalTail(Math.abs(x));
  return x * (x < 0 ? tail : 1 - tail);
}

/** `x / 2 (1 + tanh(u))` in a form that keeps the digits of the lower tail: `1 + tanh(u) = 2 / (1 + e^(-2 u))`. */
function geluTanh(x: number): number {
  const u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
  return x / (1 + Math.exp(-2 * u));
}

/**
 * The probability that a standard normal variable exceeds `t >= 0`, to 1e-13 of itself: near 0 by the series of
 * `(1/2 - tail) / density`, farther out by the continued fraction of Mills' ratio `tail / density`.
 */
function normalTail(t: number): number {
  if (t > 40) return 0;
  const density = Math.exp(-0.5 * t * t) / Math.sqrt(2 * Math.PI);
  if (t > 3) {
    let fraction = t;
    for (let n = 60; n > 0; n--) fraction = t + n / fraction;
    return density / fraction;
  }
  let term = t;
  let sum = t;
  for (let n = 3; term > 1e-17 * sum; n += 2) {
    term *= (t * t) / n;
    sum += term;
  }
  return 0.5 - density * sum;
}

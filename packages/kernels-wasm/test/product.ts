import type { KernelBackend, QuantizedTensor, Tensor } from '@halftone/tensor';
import { expect } from 'vitest';
import { type WasmBackendOptions, type WasmBuild, wasmBackend } from '../src/index.js';

/** The builds that this engine runs; Node 20 has the relaxed one behind a flag. */
export const BUILDS: readonly WasmBuild[] = (['simd', 'relaxed'] as const).filter((build) => {
  try {
    wasmBackend({ build }).dispose();
    return true;
  } catch {
    return false;
  }
});

/** Backends live for the whole file: each reserves gigabytes of addresses. */
export function backends(options: WasmBackendOptions = {}) {
  return BUILDS.map((build) => wasmBackend({ build, ...options }));
}

/** The product, checked not to write past its end; the weight is released again. */
export function product(
  backend: KernelBackend,
  weight: Tensor<Float32Array> | QuantizedTensor,
  x: Float32Array,
  rows: number,
  bias?: Float32Array,
): Float32Array {
  const uploaded = backend.uploadLinear(weight, bias);
  const count = rows * weight.shape[0];
  const out = new Float32Array(count + 3).fill(99);
  backend.linear(uploaded, x, rows, out);
  backend.release(uploaded);
  expect([...out.subarray(count)]).toEqual([99, 99, 99]);
  return out.subarray(0, count);
}

/** The same product in float64, and for each result the sum of magnitudes that rounding errors are relative to. */
export function plainProduct(
  weight: Float32Array,
  [outFeatures, inFeatures]: readonly number[],
  x: Float32Array,
  rows: number,
  bias?: Float32Array,
) {
  const values = new Float64Array(rows * outFeatures);
  const magnitudes = new Float64Array(rows * outFeatures);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      const at = r * outFeatures + o;
      values[at] = bias?.[o] ?? 0;
      magnitudes[at] = Math.abs(values[at]);
      for (let i = 0; i < inFeatures; i++) {
        const term = x[r * inFeatures + i] * weight[o * inFeatures + i];
        values[at] += term;
        magnitudes[at] += Math.abs(term);
      }
    }
  }
  return { values, magnitudes };
}

/** Largest distance from `values` in units of `magnitudes`. */
export function largestError(actual: Float32Array, { values, magnitudes }: ReturnType<typeof plainProduct>): number {
  return actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - values[i]) / (magnitudes[i] || 1)), 0);
}

/** Root of the mean square of differences. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum / a.length);
}

/** Products as anybody would write them first. */
import type { QuantizedTensor, Tensor } from '@halftone/tensor';

/** `[rows, size] x [size, size]^T` */
export function plainFloatProduct(
  weight: Float32Array,
  x: Float32Array,
  rows: number,
  size: number,
  out: Float32Array,
): void {
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < size; o++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += x[row * size + i] * weight[o * size + i];
      out[row * size + o] = sum;
    }
  }
}

/** The same on the codes and scales of a weight in groups of 32 that has no offsets. */
export function plainQuantizedProduct(weight: QuantizedTensor, x: Float32Array, rows: number, out: Float32Array): void {
  const [outFeatures, inFeatures] = weight.shape;
  const codes = (weight.parts.codes as Tensor<Int8Array>).data;
  const scales = (weight.parts.scales as Tensor<Float32Array>).data;
  const groups = inFeatures / 32;
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < outFeatures; o++) {
      let sum = 0;
      for (let i = 0; i < inFeatures; i++) {
        sum += x[row * inFeatures + i] * codes[o * inFeatures + i] * scales[o * groups + (i >> 5)];
      }
      out[row * outFeatures + o] = sum;
    }
  }
}

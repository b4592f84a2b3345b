import type { Strides } from '../internal/algebra/checks.js';
import type { FloatArray } from '../internal/algebra/operands.js';
import type { BatchedGemm } from '../linear-algebra.js';

/** `c = alpha op(a) op(b) + beta c` for each product of a batch. Sums are float64. With `beta` 0, `c` is not read. */
export function plainBatchedGemm(
  product: BatchedGemm,
  { strideA, strideB, strideC, rowStrideA, rowStrideB, rowStrideC }: Strides,
  a: FloatArray,
  b: FloatArray,
  c: FloatArray,
): void {
  const { m, n, k, count, transposeA = false, transposeB = false, alpha = 1, beta = 0 } = product;
  const [rowA, termA] = transposeA ? [1, rowStrideA] : [rowStrideA, 1];
  const [columnB, termB] = transposeB ? [rowStrideB, 1] : [1, rowStrideB];
  for (let index = 0; index < count; index++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        let atA = index * strideA + i * rowA;
        let atB = index * strideB + j * columnB;
        for (let p = 0; p < k; p++, atA += termA, atB += termB) sum += a[atA] * b[atB];
        const at = index * strideC + i * rowStrideC + j;
        c[at] = beta === 0 ? alpha * sum : alpha * sum + beta * c[at];
      }
    }
  }
}

/** `c = beta c`, and zeros for a `beta` of 0: what is left of a product without terms. */
export function scaleMatrices({ m, n, count, beta = 0 }: BatchedGemm, strides: Strides, c: FloatArray): void {
  for (let index = 0; index < count; index++) {
    for (let i = 0; i < m; i++) {
      const start = index * strides.strideC + i * strides.rowStrideC;
      if (beta === 0) c.fill(0, start, start + n);
      else for (let at = start; at < start + n; at++) c[at] *= beta;
    }
  }
}

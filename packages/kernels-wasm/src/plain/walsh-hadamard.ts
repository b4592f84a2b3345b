import { hadamardMatrix } from '../internal/hadamard-matrix.js';
import { checkWalshHadamard } from '../internal/operation-checks.js';

/** The normalised Walsh-Hadamard transform of blocks of `size` values in place; see `Operations`. */
export function walshHadamard(x: Float32Array, rows: number, features: number, size: number = features): void {
  const { order } = checkWalshHadamard(x, rows, features, size);
  const matrix = hadamardMatrix(order);
  const block = new Float64Array(size);
  for (let start = 0; start < rows * features; start += size) {
    for (let i = 0; i < size; i++) block[i] = x[start + i] / Math.sqrt(size);
    butterflies(block, size / order);
    mix(block, matrix, order);
    x.set(block, start);
  }
}

/** Sylvester's matrix times each run of `length`, a power of two: sums and differences of values 1, 2, 4, ... apart. */
function butterflies(values: Float64Array, length: number): void {
  for (let distance = 1; distance < length; distance *= 2) {
    for (let i = 0; i < values.length; i++) {
      if (i & distance) continue;
      const a = values[i];
      const b = values[i + distance];
      values[i] = a + b;
      values[i + distance] = a - b;
    }
  }
}

/** The matrix times each column of `values`, seen as `[order, length]`. */
function mix(values: Float64Array, matrix: Int8Array, order: number): void {
  const length = values.length / order;
  const column = new Float64Array(order);
  for (let c = 0; c < length; c++) {
    for (let i = 0; i < order; i++) column[i] = values[i * length + c];
    for (let i = 0; i < order; i++) {
      let sum = 0;
      for (let j = 0; j < order; j++) sum += matrix[i * order + j] * column[j];
      values[i * length + c] = sum;
    }
  }
}

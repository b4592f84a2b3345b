import { checkTopK, notANumber } from '../internal/operation-checks.js';

/** The `k` largest values in falling order, equal ones by index. Sorts all of them. */
export function topK(x: Float32Array, k: number, values: Float32Array, indices: Int32Array): void {
  checkTopK(x, k, values, indices);
  if (x.some(Number.isNaN)) throw notANumber('topK', x);
  const order = Int32Array.from(x, (_, index) => index).sort((a, b) => (x[a] === x[b] ? a - b : x[a] < x[b] ? 1 : -1));
  for (let i = 0; i < k; i++) {
    indices[i] = order[i];
    values[i] = x[order[i]];
  }
}

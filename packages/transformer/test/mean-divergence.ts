/** Mean Kullback-Leibler divergence of `q` from `p` in nats, over rows of `size` logits, and the largest difference of two. */
export function meanDivergence(
  p: Float32Array,
  q: Float32Array,
  size: number,
): { readonly mean: number; readonly largest: number } {
  const rows = p.length / size;
  let sum = 0;
  let largest = 0;
  for (let row = 0; row < rows; row++) {
    const a = logSoftmax(p.subarray(row * size, (row + 1) * size));
    const b = logSoftmax(q.subarray(row * size, (row + 1) * size));
    for (let i = 0; i < size; i++) {
      sum += Math.exp(a[i]) * (a[i] - b[i]);
      largest = Math.max(largest, Math.abs(a[i] - b[i]));
    }
  }
  return { mean: sum / rows, largest };
}

function logSoftmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  return Float64Array.from(logits, (logit) => logit - largest - Math.log(total));
}

/**
 * Causal attention of new queries over one sequence's keys and values, with grouped query heads and an optional sliding window.
 * Sources: arXiv 1706.03762; grouped heads arXiv 2305.13245; window as in arXiv 2310.06825 (a token sees itself and the
 * `window - 1` tokens before it).
 */
import type { AttentionShape, BlockKernels, KvView } from '@halftone/tensor';

/**
 * Attention in TypeScript: softmax and sums in float64, `2 * rows * entries * heads * headDim` multiplications. The function
 * keeps its buffers from call to call.
 */
export function attention(): BlockKernels['attend'] {
  let query = new Float64Array(0);
  let result = new Float64Array(0);
  let weights = new Float64Array(0);
  return (shape, queries, positions, view, out) => {
    const { heads, kvHeads, headDim } = shape;
    if (query.length !== headDim) {
      query = new Float64Array(headDim);
      result = new Float64Array(headDim);
    }
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const entries = view(kvHead);
      if (weights.length < entries.length) weights = new Float64Array(Math.max(entries.length, 2 * weights.length));
      attendHeads(shape, (kvHead * heads) / kvHeads, queries, positions, entries, query, result, weights, out);
    }
  };
}

/** The query heads from `first` that share one key/value head. */
function attendHeads(
  { heads, kvHeads, headDim, window }: AttentionShape,
  first: number,
  queries: Float32Array,
  positions: Int32Array,
  entries: KvView,
  query: Float64Array,
  result: Float64Array,
  weights: Float64Array,
  out: Float32Array,
): void {
  const { keys, values } = entries;
  const scale = 1 / Math.sqrt(headDim);
  for (let row = 0; row < positions.length; row++) {
    const start = window === undefined ? 0 : firstEntryAt(positions[row] - window + 1, entries);
    const end = firstEntryAt(positions[row] + 1, entries);
    for (let head = first; head < first + heads / kvHeads; head++) {
      const at = (row * heads + head) * headDim;
      for (let i = 0; i < headDim; i++) query[i] = queries[at + i] * scale;
      for (let t = start, k = start * headDim; t < end; t++) {
        let sum = 0.0;
        for (let i = 0; i < headDim; i++, k++) sum += query[i] * keys[k];
        weights[t] = sum;
      }
      const total = exponentials(weights, start, end);
      result.fill(0);
      for (let t = start, k = start * headDim; t < end; t++) {
        const weight = weights[t];
        for (let i = 0; i < headDim; i++, k++) result[i] += weight * values[k];
      }
      for (let i = 0; i < headDim; i++) out[at + i] = end > start ? result[i] / total : 0;
    }
  }
}

/** Index of the first entry at `position` or later. Positions increase. */
function firstEntryAt(position: number, { positions, length }: KvView): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (positions[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Replaces the scores in `[start, end)` by `exp(score - max)` and returns their sum. */
function exponentials(scores: Float64Array, start: number, end: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let t = start; t < end; t++) if (scores[t] > max) max = scores[t];
  let total = 0;
  for (let t = start; t < end; t++) {
    const weight = Math.exp(scores[t] - max);
    scores[t] = weight;
    total += weight;
  }
  return total;
}

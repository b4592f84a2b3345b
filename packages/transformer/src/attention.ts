/**
 * Causal attention of new queries over one sequence's keys and values, with grouped query heads and an optional sliding window.
 * Sources: arXiv 1706.03762; grouped heads arXiv 2305.13245; window as in arXiv 2310.06825 (a token sees itself and the
 * `window - 1` tokens before it).
 */
import type { AttentionShape, KvView } from '@halftone/tensor';

/**
 * `query` and `out` are `[positions.length, heads * headDim]` row-major; `view(kvHead)` gives the keys and values to attend to.
 * A query at position `p` sees entries at positions in `(p - window, p]`; one that sees none gets zeros. Softmax and sums are
 * in float64.
 */
export function attend(
  shape: AttentionShape,
  query: Float32Array,
  positions: Int32Array,
  view: (kvHead: number) => KvView,
  out: Float32Array,
): void {
  const { heads, kvHeads, headDim, window } = shape;
  const group = heads / kvHeads;
  const q = new Float64Array(headDim);
  const result = new Float64Array(headDim);
  const scale = 1 / Math.sqrt(headDim);
  for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
    const entries = view(kvHead);
    const { keys, values } = entries;
    const weights = new Float64Array(entries.length);
    for (let row = 0; row < positions.length; row++) {
      const start = window === undefined ? 0 : firstEntryAt(positions[row] - window + 1, entries);
      const end = firstEntryAt(positions[row] + 1, entries);
      for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
        const at = (row * heads + head) * headDim;
        for (let i = 0; i < headDim; i++) q[i] = query[at + i] * scale;
        for (let t = start, k = start * headDim; t < end; t++) {
          let sum = 0.0;
          for (let i = 0; i < headDim; i++, k++) sum += q[i] * keys[k];
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

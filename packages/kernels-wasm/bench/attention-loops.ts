import type { AttentionShape } from '@halftone/tensor';
import type { KvSegment } from '../src/index.js';

/** Attention over float32 entries in plain loops, as anybody would write it first. */
export function loopAttention(
  { heads, kvHeads, headDim }: AttentionShape,
  query: Float32Array,
  positions: Int32Array,
  segment: (kvHead: number) => KvSegment,
  out: Float32Array,
): void {
  for (let head = 0; head < heads; head++) {
    const { keys, values, length, positions: held } = segment(Math.floor((head * kvHeads) / heads));
    const k = keys as Float32Array;
    const v = values as Float32Array;
    const weights = new Float32Array(length);
    for (let row = 0; row < positions.length; row++) {
      const at = (row * heads + head) * headDim;
      let end = 0;
      let max = Number.NEGATIVE_INFINITY;
      while (end < length && held[end] <= positions[row]) {
        let sum = 0;
        for (let i = 0; i < headDim; i++) sum += query[at + i] * k[end * headDim + i];
        weights[end] = sum / Math.sqrt(headDim);
        max = Math.max(max, weights[end++]);
      }
      let total = 0;
      for (let t = 0; t < end; t++) {
        weights[t] = Math.exp(weights[t] - max);
        total += weights[t];
      }
      out.fill(0, at, at + headDim);
      for (let t = 0; t < end; t++) {
        for (let i = 0; i < headDim; i++) out[at + i] += (weights[t] / total) * v[t * headDim + i];
      }
    }
  }
}

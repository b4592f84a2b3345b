/**
 * Attention as its formula says, in float64: what the kernels are held to. A query at position `p` sees entries at positions in
 * `(p - window, p]`; `out = sum(exp(s - max s) * v) / sum(exp(s - max s))` with `s = q · k / sqrt(headDim)`.
 */
import { type AttentionShape, float16ToNumber } from '@halftone/tensor';
import type { CodedEntries, KvEntries, KvSegment } from '../kv-segment.js';

/** `query` is `[positions.length, heads * headDim]`; so is the result. A query that sees no entry gets zeros. */
export function plainAttention(
  { heads, kvHeads, headDim, window = Number.POSITIVE_INFINITY }: AttentionShape,
  query: Float32Array,
  positions: Int32Array,
  segment: (kvHead: number) => KvSegment,
): Float64Array {
  const out = new Float64Array(positions.length * heads * headDim);
  for (let head = 0; head < heads; head++) {
    const entries = segment(Math.floor(head / (heads / kvHeads)));
    const keys = decodeEntries(entries.keys, entries.length, headDim);
    const values = decodeEntries(entries.values, entries.length, headDim);
    for (let row = 0; row < positions.length; row++) {
      const at = (row * heads + head) * headDim;
      const scores = new Float64Array(entries.length).fill(Number.NaN);
      const seen: number[] = [];
      for (let t = 0; t < entries.length; t++) {
        const position = entries.positions[t];
        if (position > positions[row] || position <= positions[row] - window) continue;
        seen.push(t);
        let sum = 0;
        for (let i = 0; i < headDim; i++) sum += query[at + i] * keys[t * headDim + i];
        scores[t] = sum / Math.sqrt(headDim);
      }
      const max = seen.reduce((high, t) => Math.max(high, scores[t]), Number.NEGATIVE_INFINITY);
      let total = 0;
      for (const t of seen) {
        const weight = Math.exp(scores[t] - max);
        total += weight;
        for (let i = 0; i < headDim; i++) out[at + i] += weight * values[t * headDim + i];
      }
      if (seen.length > 0) for (let i = 0; i < headDim; i++) out[at + i] /= total;
    }
  }
  return out;
}

/** The values that stored entries stand for, `[length, headDim]`. */
export function decodeEntries(entries: KvEntries, length: number, headDim: number): Float64Array {
  if (entries instanceof Float32Array) return Float64Array.from(entries.subarray(0, length * headDim));
  return Float64Array.from({ length: length * headDim }, (_, at) => {
    if (entries.type === 'f16') return float16ToNumber(entries.data[at]);
    const entry = Math.floor(at / headDim);
    const channel = at % headDim;
    const { grouping, groupSize, scales, offsets } = entries;
    const group =
      grouping === 'token'
        ? entry * Math.ceil(headDim / groupSize) + Math.floor(channel / groupSize)
        : Math.floor(entry / groupSize) * headDim + channel;
    return code(entries, entry, channel, headDim) * scales[group] + (offsets?.[group] ?? 0);
  });
}

function code({ type, data }: CodedEntries, entry: number, channel: number, headDim: number): number {
  if (type === 'int8') return (data[entry * headDim + channel] << 24) >> 24;
  const byte = data[entry * Math.ceil(headDim / 2) + (channel >> 1)];
  const nibble = channel % 2 === 0 ? byte & 15 : (byte >> 4) & 15;
  return nibble < 8 ? nibble : nibble - 16;
}

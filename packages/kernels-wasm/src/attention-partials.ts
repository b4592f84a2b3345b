import { HalftoneError } from '@halftone/tensor';

/**
 * Softmax attention of query vectors over a part of the entries that they see, before the division. Partials over disjoint
 * parts merge into the partial over their union.
 */
export interface AttentionPartials {
  readonly rows: number;
  readonly heads: number;
  readonly headDim: number;
  /** `[rows, heads]`, the largest score; -Infinity where no entry was seen. */
  readonly maxima: Float32Array;
  /** `[rows, heads]`, the sum of `exp(score - maximum)`. */
  readonly sums: Float32Array;
  /** `[rows, heads, headDim]`, the sum of `exp(score - maximum) * value`. */
  readonly values: Float32Array;
}

/** Partials over no entries. */
export function attentionPartials(rows: number, heads: number, headDim: number): AttentionPartials {
  return {
    rows,
    heads,
    headDim,
    maxima: new Float32Array(rows * heads).fill(Number.NEGATIVE_INFINITY),
    sums: new Float32Array(rows * heads),
    values: new Float32Array(rows * heads * headDim),
  };
}

/**
 * Adds what `from` saw to `into`: `M = max(m1, m2)`, `l = l1 exp(m1 - M) + l2 exp(m2 - M)`, and values alike, in float32.
 * Throws `SHAPE` when the two differ in shape. Source: arXiv 2405.10480 (LeanAttention), section on the rescaling operator.
 */
export function mergePartials(into: AttentionPartials, from: AttentionPartials): void {
  const { rows, heads, headDim } = into;
  if (from.rows !== rows || from.heads !== heads || from.headDim !== headDim) {
    throw new HalftoneError(
      'SHAPE',
      `partials of ${from.rows} rows, ${from.heads} heads of ${from.headDim} do not merge with ${rows}, ${heads} of ${headDim}`,
      { where: 'mergePartials' },
    );
  }
  for (let vector = 0; vector < rows * heads; vector++) {
    const other = from.maxima[vector];
    if (other === Number.NEGATIVE_INFINITY) continue;
    const max = Math.max(into.maxima[vector], other);
    const keep = Math.exp(into.maxima[vector] - max);
    const add = Math.exp(other - max);
    into.maxima[vector] = max;
    into.sums[vector] = into.sums[vector] * keep + from.sums[vector] * add;
    const end = (vector + 1) * headDim;
    for (let i = vector * headDim; i < end; i++) into.values[i] = into.values[i] * keep + from.values[i] * add;
  }
}

/**
 * Attention from partials over all entries: `out [rows, heads * headDim]`, zeros for a query that saw none.
 * Throws `SHAPE` when `out` is too short.
 */
export function finishPartials(
  { rows, heads, headDim, maxima, sums, values }: AttentionPartials,
  out: Float32Array,
): void {
  if (out.length < rows * heads * headDim) {
    throw new HalftoneError('SHAPE', `out holds ${out.length} values; it needs ${rows * heads * headDim}`, {
      where: 'finishPartials',
    });
  }
  for (let vector = 0; vector < rows * heads; vector++) {
    const seen = maxima[vector] !== Number.NEGATIVE_INFINITY;
    const end = (vector + 1) * headDim;
    for (let i = vector * headDim; i < end; i++) out[i] = seen ? values[i] / sums[vector] : 0;
  }
}

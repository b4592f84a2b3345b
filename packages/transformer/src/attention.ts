/**
 * Causal attention of new queries over one sequence's keys and values, with grouped query heads and an optional sliding window.
 * Sources: arXiv 1706.03762; grouped heads arXiv 2305.13245; window as in arXiv 2310.06825 (a token sees itself and the
 * `window - 1` tokens before it).
 */
import type { KvView } from '@halftone/tensor';
import { multiplyPanels, packColumns, packRows, TILE, wholeTiles } from './internal/gemm.js';
import type { Scratch } from './internal/scratch.js';

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window?: number;
}

/** Query rows that are scored together. */
const ROW_BLOCK = 32;

/**
 * `query` and `out` are `[positions.length, heads * headDim]` row-major; `view(kvHead)` gives the keys and values to attend to.
 * A query at position `p` sees entries at positions in `(p - window, p]`; one that sees none gets zeros. Softmax and sums are
 * in float64. Few rows are computed directly; more go through the register-tiled product of the linear layers.
 */
export function attend(
  shape: AttentionShape,
  query: Float32Array,
  positions: Int32Array,
  view: (kvHead: number) => KvView,
  out: Float32Array,
  buffers: Scratch,
): void {
  const group = shape.heads / shape.kvHeads;
  const few = positions.length < TILE;
  for (let kvHead = 0; kvHead < shape.kvHeads; kvHead++) {
    const entries = view(kvHead);
    if (!few) packEntries(entries, shape.headDim, buffers);
    for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
      if (few) attendDirectly(shape, head, query, positions, entries, out, buffers);
      else attendBlocks(shape, head, query, positions, entries, out, buffers);
    }
  }
}

/** Index of the first entry at `position` or later. Positions increase. */
function firstEntryAt(position: number, entries: KvView): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries.positions[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

function attendDirectly(
  { heads, headDim, window }: AttentionShape,
  head: number,
  query: Float32Array,
  positions: Int32Array,
  entries: KvView,
  out: Float32Array,
  buffers: Scratch,
): void {
  const { keys, values } = entries;
  const q = buffers.float64('query', headDim);
  const result = buffers.float64('result', headDim);
  const scores = buffers.float64('scores', entries.length);
  const scale = 1 / Math.sqrt(headDim);
  for (let row = 0; row < positions.length; row++) {
    const end = firstEntryAt(positions[row] + 1, entries);
    const start = window === undefined ? 0 : firstEntryAt(positions[row] - window + 1, entries);
    const at = (row * heads + head) * headDim;
    for (let i = 0; i < headDim; i++) q[i] = query[at + i] * scale;
    for (let t = start, k = start * headDim; t < end; t++) {
      let sum = 0.0;
      for (let i = 0; i < headDim; i++, k++) sum += q[i] * keys[k];
      scores[t] = sum;
    }
    const total = exponentials(scores, start, end);
    result.fill(0, 0, headDim);
    for (let t = start, k = start * headDim; t < end; t++) {
      const weight = scores[t];
      for (let i = 0; i < headDim; i++, k++) result[i] += weight * values[k];
    }
    for (let i = 0; i < headDim; i++) out[at + i] = end > start ? result[i] / total : 0;
  }
}

/** Replaces scores in `[start, end)` by `exp(score - max)` and returns their sum. */
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

/** Keys as panels of four entries (depth `headDim`), values as panels of four channels (depth `length`). */
function packEntries({ keys, values, length }: KvView, headDim: number, buffers: Scratch): void {
  const keyPanels = buffers.float64('keyPanels', wholeTiles(length) * headDim);
  for (let t = 0; t < length; t += TILE) {
    packRows(keys, t * headDim, headDim, Math.min(TILE, length - t), headDim, keyPanels, t * headDim);
  }
  const valuePanels = buffers.float64('valuePanels', wholeTiles(headDim) * length);
  for (let i = 0; i < headDim; i += TILE) {
    packColumns(values, i, headDim, Math.min(TILE, headDim - i), length, valuePanels, i * length);
  }
}

function attendBlocks(
  { heads, headDim, window }: AttentionShape,
  head: number,
  query: Float32Array,
  positions: Int32Array,
  entries: KvView,
  out: Float32Array,
  buffers: Scratch,
): void {
  const { length } = entries;
  const tileRows = TILE;
  const width = wholeTiles(length);
  const paddedDim = wholeTiles(headDim);
  const rowWidth = heads * headDim;
  const scale = 1 / Math.sqrt(headDim);
  const keyPanels = buffers.float64('keyPanels', width * headDim);
  const valuePanels = buffers.float64('valuePanels', paddedDim * length);
  const queryPanel = buffers.float64('queryPanel', tileRows * headDim);
  const scores = buffers.float64('blockScores', ROW_BLOCK * width);
  const weights = buffers.float64('weights', tileRows * width);
  const results = buffers.float64('results', ROW_BLOCK * paddedDim);
  const starts = new Int32Array(ROW_BLOCK);
  const ends = new Int32Array(ROW_BLOCK);
  const totals = new Float64Array(ROW_BLOCK);

  for (let first = 0; first < positions.length; first += ROW_BLOCK) {
    const count = Math.min(ROW_BLOCK, positions.length - first);
    const padded = wholeTiles(count);
    starts.fill(0);
    ends.fill(0);
    for (let row = 0; row < count; row++) {
      ends[row] = firstEntryAt(positions[first + row] + 1, entries);
      starts[row] = window === undefined ? 0 : firstEntryAt(positions[first + row] - window + 1, entries);
    }
    // Positions increase, so the first row starts earliest and the last one ends latest.
    const from = starts[0] - (starts[0] % tileRows);
    const to = wholeTiles(ends[count - 1]);
    for (let tile = 0; tile < padded; tile += tileRows) {
      const rows = Math.min(tileRows, count - tile);
      packRows(query, (first + tile) * rowWidth + head * headDim, rowWidth, rows, headDim, queryPanel, 0);
      for (let i = 0; i < tileRows * headDim; i++) queryPanel[i] *= scale;
      for (let row = tile; row < tile + tileRows; row++) scores.fill(0, row * width + from, row * width + to);
      const last = ends[tile + rows - 1];
      for (let t = from; t < last; t += tileRows) {
        multiplyPanels(queryPanel, 0, keyPanels, t * headDim, headDim, scores, tile * width + t, width);
      }
    }
    results.fill(0, 0, padded * paddedDim);
    for (let tile = 0; tile < padded; tile += tileRows) {
      const rows = Math.min(tileRows, count - tile);
      const low = starts[tile];
      const high = ends[tile + rows - 1];
      for (let i = 0; i < tileRows; i++) {
        const row = tile + i;
        const base = row * width;
        totals[row] = exponentials(scores, base + starts[row], base + ends[row]);
        for (let t = low, p = i; t < high; t++, p += tileRows) {
          weights[p] = t >= starts[row] && t < ends[row] ? scores[base + t] : 0;
        }
      }
      for (let i = 0; i < paddedDim; i += tileRows) {
        multiplyPanels(
          weights,
          0,
          valuePanels,
          i * length + low * tileRows,
          high - low,
          results,
          tile * paddedDim + i,
          paddedDim,
        );
      }
    }
    for (let row = 0; row < count; row++) {
      const at = (first + row) * rowWidth + head * headDim;
      const seen = ends[row] > starts[row];
      for (let i = 0; i < headDim; i++) out[at + i] = seen ? results[row * paddedDim + i] / totals[row] : 0;
    }
  }
}

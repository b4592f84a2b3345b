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

/** One call of `attend`, as the functions for one head need it. */
interface AttentionPass extends AttentionShape {
  readonly query: Float32Array;
  readonly positions: Int32Array;
  readonly out: Float32Array;
  readonly buffers: Scratch;
}

/** Entries of one key/value head: keys as panels of four entries, values as panels of four channels. */
interface EntryPanels {
  readonly keys: Float64Array;
  readonly values: Float64Array;
  readonly entries: KvView;
}

/** Up to four query rows from `first`: row `first + i` sees the entries in `[starts[i], ends[i])`. */
interface RowTile {
  readonly first: number;
  readonly rows: number;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

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
  const pass: AttentionPass = { ...shape, query, positions, out, buffers };
  const group = shape.heads / shape.kvHeads;
  for (let kvHead = 0; kvHead < shape.kvHeads; kvHead++) {
    const entries = view(kvHead);
    // A tile multiplies entries that some of its rows must not see by zero, which hides finite values only.
    const tiled = positions.length >= TILE && allFinite(entries.values, entries.length * shape.headDim);
    const panels = tiled ? packEntries(entries, shape.headDim, buffers) : undefined;
    for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
      if (panels === undefined) attendDirectly(pass, head, entries);
      else attendInTiles(pass, head, panels);
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

/** The first entry that a query sees. */
function spanStart(position: number, window: number | undefined, entries: KvView): number {
  return window === undefined ? 0 : firstEntryAt(position - window + 1, entries);
}

/** The end of the entries that a query sees. */
function spanEnd(position: number, entries: KvView): number {
  return firstEntryAt(position + 1, entries);
}

function allFinite(values: Float32Array, length: number): boolean {
  // Zero times a number is zero; times NaN or an infinity it is NaN, which stays.
  let sum = 0;
  for (let i = 0; i < length; i++) sum += 0 * values[i];
  return sum === 0;
}

function attendDirectly(pass: AttentionPass, head: number, entries: KvView): void {
  const { heads, headDim, window, query, positions, out, buffers } = pass;
  const { keys, values } = entries;
  const q = buffers.float64('query', headDim);
  const result = buffers.float64('result', headDim);
  const scores = buffers.float64('scores', entries.length);
  const scale = 1 / Math.sqrt(headDim);
  for (let row = 0; row < positions.length; row++) {
    const start = spanStart(positions[row], window, entries);
    const end = spanEnd(positions[row], entries);
    const at = (row * heads + head) * headDim;
    for (let i = 0; i < headDim; i++) q[i] = query[at + i] * scale;
    for (let t = start, k = start * headDim; t < end; t++) {
      let sum = 0.0;
      for (let i = 0; i < headDim; i++, k++) sum += q[i] * keys[k];
      scores[t] = sum;
    }
    const total = exponentials(scores, start, end, scores, start, 1);
    result.fill(0, 0, headDim);
    for (let t = start, k = start * headDim; t < end; t++) {
      const weight = scores[t];
      for (let i = 0; i < headDim; i++, k++) result[i] += weight * values[k];
    }
    for (let i = 0; i < headDim; i++) out[at + i] = end > start ? result[i] / total : 0;
  }
}

/** Writes `exp(score - max)` of the scores in `[start, end)` to `weights[at]`, `weights[at + stride]`, ...; returns the sum. */
function exponentials(
  scores: Float64Array,
  start: number,
  end: number,
  weights: Float64Array,
  at: number,
  stride: number,
): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let t = start; t < end; t++) if (scores[t] > max) max = scores[t];
  let total = 0;
  for (let t = start, to = at; t < end; t++, to += stride) {
    const weight = Math.exp(scores[t] - max);
    weights[to] = weight;
    total += weight;
  }
  return total;
}

/** Keys of depth `headDim`, values of depth `length`. */
function packEntries(entries: KvView, headDim: number, buffers: Scratch): EntryPanels {
  const { length } = entries;
  const keys = buffers.float64('keyPanels', wholeTiles(length) * headDim);
  for (let t = 0; t < length; t += TILE) {
    packRows(entries.keys, t * headDim, headDim, Math.min(TILE, length - t), headDim, keys, t * headDim);
  }
  const values = buffers.float64('valuePanels', wholeTiles(headDim) * length);
  for (let i = 0; i < headDim; i += TILE) {
    packColumns(entries.values, i, headDim, Math.min(TILE, headDim - i), length, values, i * length);
  }
  return { keys, values, entries };
}

function attendInTiles(pass: AttentionPass, head: number, panels: EntryPanels): void {
  for (let first = 0; first < pass.positions.length; first += TILE) {
    const tile = rowTile(pass, first, panels.entries);
    // Positions increase, so the first row starts earliest and the last one ends latest.
    const low = tile.starts[0];
    const high = tile.ends[tile.rows - 1];
    const scores = scoreTile(pass, head, tile, panels, low, high);
    const { weights, totals } = weighTile(pass, tile, scores, panels, low, high);
    const sums = sumValues(pass, weights, panels, low, high);
    writeRows(pass, head, tile, sums, totals);
  }
}

function rowTile({ positions, window }: AttentionPass, first: number, entries: KvView): RowTile {
  const rows = Math.min(TILE, positions.length - first);
  const starts: number[] = [];
  const ends: number[] = [];
  for (let row = first; row < first + rows; row++) {
    starts.push(spanStart(positions[row], window, entries));
    ends.push(spanEnd(positions[row], entries));
  }
  return { first, rows, starts, ends };
}

/** Scaled products of a tile's queries with the keys of entries `low .. high`, `[4, wholeTiles(length)]`. */
function scoreTile(
  { heads, headDim, query, buffers }: AttentionPass,
  head: number,
  { first, rows }: RowTile,
  { keys, entries }: EntryPanels,
  low: number,
  high: number,
): Float64Array {
  const step = TILE;
  const width = wholeTiles(entries.length);
  const queries = buffers.float64('queryPanel', step * headDim);
  packRows(query, (first * heads + head) * headDim, heads * headDim, rows, headDim, queries, 0);
  const scale = 1 / Math.sqrt(headDim);
  for (let i = 0; i < step * headDim; i++) queries[i] *= scale;
  const scores = buffers.float64('tileScores', step * width);
  const from = low - (low % step);
  for (let i = 0; i < step; i++) scores.fill(0, i * width + from, i * width + wholeTiles(high));
  for (let t = from; t < high; t += step) {
    multiplyPanels(queries, 0, keys, t * headDim, headDim, scores, t, width);
  }
  return scores;
}

/** The softmax of each row before the division by its total: a panel of depth `high - low`, zero where a row must not see. */
function weighTile(
  { buffers }: AttentionPass,
  { rows, starts, ends }: RowTile,
  scores: Float64Array,
  { entries }: EntryPanels,
  low: number,
  high: number,
): { readonly weights: Float64Array; readonly totals: readonly number[] } {
  const width = wholeTiles(entries.length);
  const weights = buffers.float64('weights', TILE * width);
  weights.fill(0, 0, TILE * (high - low));
  const totals: number[] = [];
  for (let i = 0; i < rows; i++) {
    const at = TILE * (starts[i] - low) + i;
    totals.push(exponentials(scores, i * width + starts[i], i * width + ends[i], weights, at, TILE));
  }
  return { weights, totals };
}

/** Weighted sums of the values of entries `low .. high`, `[4, wholeTiles(headDim)]`. */
function sumValues(
  { headDim, buffers }: AttentionPass,
  weights: Float64Array,
  { values, entries }: EntryPanels,
  low: number,
  high: number,
): Float64Array {
  const step = TILE;
  const width = wholeTiles(headDim);
  const sums = buffers.float64('valueSums', step * width);
  sums.fill(0, 0, step * width);
  for (let i = 0; i < width; i += step) {
    multiplyPanels(weights, 0, values, i * entries.length + low * step, high - low, sums, i, width);
  }
  return sums;
}

function writeRows(
  { heads, headDim, out }: AttentionPass,
  head: number,
  { first, rows, starts, ends }: RowTile,
  sums: Float64Array,
  totals: readonly number[],
): void {
  const width = wholeTiles(headDim);
  for (let row = 0; row < rows; row++) {
    const at = ((first + row) * heads + head) * headDim;
    const seen = ends[row] > starts[row];
    for (let i = 0; i < headDim; i++) out[at + i] = seen ? sums[row * width + i] / totals[row] : 0;
  }
}

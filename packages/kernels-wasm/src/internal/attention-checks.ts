import { type AttentionShape, HalftoneError } from '@halftone/tensor';
import type { AttentionPartials } from '../attention-partials.js';
import type { CodedEntries, KvEntries, KvSegment } from '../kv-segment.js';

const WHERE = 'attention';

/** `actual` are the lengths of `query` and `out`. */
export function checkAttention(
  { heads, kvHeads, headDim, window = 1 }: AttentionShape,
  rows: number,
  query: number,
  out: number,
): void {
  if (!(isCount(heads) && isCount(kvHeads) && isCount(headDim) && heads % kvHeads === 0)) {
    throw new HalftoneError('SHAPE', `${heads} heads of ${headDim} do not share ${kvHeads} key/value heads evenly`, {
      where: WHERE,
      details: { heads, kvHeads, headDim },
    });
  }
  if (!(window >= 1)) {
    throw new HalftoneError('RANGE', `window is ${window}; it must be at least 1`, {
      where: WHERE,
      details: { window },
    });
  }
  const needed = rows * heads * headDim;
  if (query < needed || out < needed) {
    throw new HalftoneError(
      'SHAPE',
      `${rows} rows of ${heads} heads of ${headDim} need ${needed} values, but query has ${query} and out ${out}`,
      { where: WHERE, details: { rows, heads, headDim, query, out } },
    );
  }
}

export function checkPartials({ heads, headDim }: AttentionShape, rows: number, partials: AttentionPartials): void {
  if (partials.rows !== rows || partials.heads !== heads || partials.headDim !== headDim) {
    throw new HalftoneError(
      'SHAPE',
      `partials are for ${partials.rows} rows of ${partials.heads} heads of ${partials.headDim}; this is ${rows} of ${heads} of ${headDim}`,
      { where: WHERE },
    );
  }
}

export function checkSegment({ keys, values, length, positions }: KvSegment, kvHead: number, headDim: number): void {
  if (!(Number.isInteger(length) && length >= 0 && positions.length >= length)) {
    throw new HalftoneError('SHAPE', `key/value head ${kvHead}: ${length} entries with ${positions.length} positions`, {
      where: WHERE,
      details: { kvHead, length, positions: positions.length },
    });
  }
  checkEntries(keys, length, headDim, kvHead, 'keys');
  checkEntries(values, length, headDim, kvHead, 'values');
}

function checkEntries(entries: KvEntries, length: number, headDim: number, kvHead: number, what: string): void {
  if (entries instanceof Float32Array) return checkLength(entries.length, length * headDim, kvHead, what);
  if (entries.type === 'f16') return checkLength(entries.data.length, length * headDim, kvHead, what);
  if (entries.type !== 'int8' && entries.type !== 'int4') {
    throw new HalftoneError('DTYPE', `key/value head ${kvHead}: ${what} of type ${(entries as CodedEntries).type}`, {
      where: WHERE,
      details: { kvHead },
    });
  }
  const { type, data, grouping, groupSize, scales, offsets } = entries;
  if (!isCount(groupSize) || (type === 'int4' && grouping === 'token' && groupSize < headDim && groupSize % 2 !== 0)) {
    throw new HalftoneError(
      'RANGE',
      `key/value head ${kvHead}: groupSize of ${what} is ${groupSize}; it must be a whole number, even for int4 by token`,
      { where: WHERE, details: { kvHead, groupSize } },
    );
  }
  checkLength(data.length, length * (type === 'int8' ? headDim : Math.ceil(headDim / 2)), kvHead, what);
  const groups =
    grouping === 'token' ? length * Math.ceil(headDim / groupSize) : Math.ceil(length / groupSize) * headDim;
  checkLength(scales.length, groups, kvHead, `scales of ${what}`);
  if (offsets !== undefined) checkLength(offsets.length, groups, kvHead, `offsets of ${what}`);
}

function checkLength(actual: number, needed: number, kvHead: number, what: string): void {
  if (actual < needed) {
    throw new HalftoneError('SHAPE', `key/value head ${kvHead}: ${what} has ${actual} elements; it needs ${needed}`, {
      where: WHERE,
      details: { kvHead, actual, needed },
    });
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

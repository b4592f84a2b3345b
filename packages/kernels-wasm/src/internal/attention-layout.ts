/** What the attention kernels and the code that calls them agree on. */

/** Entries whose scores are held at once. */
export const TILE = 64;
/** Entries of a split: a part of a long context that another thread may take. A multiple of `TILE`. */
export const SPLIT = 1024;
/** Query vectors that share a reading of keys and values, where one row does not have more. */
export const QUERIES = 32;

/** Up to so many query vectors, codes with scales by token are multiplied as integers; for more they are decoded first. */
export const CODED_QUERIES = 4;
/** Channels of a group, at most, so that sums of products of codes and words stay below 2^31. */
export const CODED_CHANNELS = 512;

/** Byte offsets of the fields of a call, each of 4 bytes; pointers, counts, and one factor. */
export const CALL = {
  query: 0,
  rows: 4,
  heads: 8,
  headDim: 12,
  group: 16,
  rowsPerTile: 20,
  tiles: 24,
  splits: 28,
  /** `[kvHead, row, 2]`: the first entry that a row sees, and the end of those. */
  ranges: 32,
  /** `[kvHead]` records of `SEGMENT_BYTES`. */
  segments: 36,
  /** Where items write: `[split, row, head, headDim]` and twice `[split, row, head]`. */
  values: 40,
  maxima: 44,
  sums: 48,
  /** Not 0: `values` are divided by `sums`, which are not written, nor are `maxima`. */
  finish: 52,
  scale: 56,
} as const;
export const CALL_BYTES = 64;

/** Byte offsets within one side (keys, then values) of a segment. */
export const SIDE = { type: 0, data: 4, scales: 8, offsets: 12, groupSize: 16, groups: 20 } as const;
export const SIDE_BYTES = 32;
export const SEGMENT_BYTES = 2 * SIDE_BYTES;

/** How a side is stored. */
export const STORED = { f32: 0, f16: 1, int8Token: 2, int4Token: 3, int8Channel: 4, int4Channel: 5 } as const;

/** Channels of a decoded entry, and of a query in work. */
export function paddedDim(headDim: number): number {
  return Math.ceil(headDim / 4) * 4;
}

/** Working memory of a thread for `queries` query vectors; products of codes need five rows of a tile. */
export function attentionScratchBytes(queries: number, headDim: number): number {
  const depth = paddedDim(headDim);
  return 4 * (queries * (2 * depth + TILE + 2) + TILE * Math.max(depth, 5)) + 64;
}

/** Whole cache lines: threads do not share them. */
export function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

import type { AttentionShape } from '@halftone/tensor';
import { numberToFloat16 } from '@halftone/tensor';
import type { KvEntries, KvSegment } from '../src/index.js';
import { noise } from './noise.js';

/** About normal: sums of four uniform values, of unit variance. */
export function normal(length: number, seed: number): Float32Array {
  const values = noise(4 * length, seed);
  return Float32Array.from({ length }, (_, i) => {
    const at = 4 * i;
    return (values[at] + values[at + 1] + values[at + 2] + values[at + 3]) * Math.sqrt(3);
  });
}

export const STORAGES = [
  'f32',
  'f16',
  'int8 token',
  'int4 token',
  'int8 channel',
  'int4 channel',
  'int8 token offsets',
  'int4 token offsets',
  'int8 channel offsets',
  'int4 channel offsets',
] as const;
export type Storage = (typeof STORAGES)[number];

/** Random entries of about unit variance. */
export function storedEntries(
  storage: Storage,
  length: number,
  headDim: number,
  groupSize: number,
  seed: number,
): KvEntries {
  const values = normal(length * headDim, seed);
  if (storage === 'f32') return values;
  if (storage === 'f16') return { type: 'f16', data: Uint16Array.from(values, numberToFloat16) };
  const [type, grouping, withOffsets] = storage.split(' ') as ['int8' | 'int4', 'token' | 'channel', string?];
  const bytes = length * (type === 'int8' ? headDim : Math.ceil(headDim / 2));
  const data = Int8Array.from(noise(bytes, seed), (value) => value * 256);
  const groups =
    grouping === 'token' ? length * Math.ceil(headDim / groupSize) : Math.ceil(length / groupSize) * headDim;
  const unit = type === 'int8' ? 1 / 64 : 1 / 4;
  const scales = noise(groups, seed + 1).map((value) => (1 + value) * unit);
  const offsets = withOffsets === undefined ? undefined : noise(groups, seed + 2);
  return { type, data, grouping, groupSize, scales, offsets };
}

/** Positions from `first` with a gap after every `every` of them. */
export function positionsWithGaps(length: number, first: number, every: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => first + i + Math.floor(i / every));
}

export interface AttentionCase {
  readonly shape: AttentionShape;
  readonly query: Float32Array;
  readonly positions: Int32Array;
  readonly segments: readonly KvSegment[];
}

export interface AttentionSetup {
  readonly headDim: number;
  readonly group?: number;
  readonly kvHeads?: number;
  readonly rows?: number;
  readonly length: number;
  readonly window?: number;
  /** Entries between gaps of the positions. */
  readonly every?: number;
  /** Entries that each key/value head has less than the one before. */
  readonly ragged?: number;
  readonly keys?: Storage;
  readonly values?: Storage;
  readonly groupSize?: number;
  readonly seed?: number;
}

/** The last rows of a sequence whose entries are in the segments. */
export function attentionCase(setup: AttentionSetup): AttentionCase {
  const { headDim, group = 2, kvHeads = 2, rows = 1, length, window, every = 1e9, ragged = 0, seed = 1 } = setup;
  const { keys = 'f32', values = keys, groupSize = 32 } = setup;
  const heads = group * kvHeads;
  const segments = Array.from({ length: kvHeads }, (_, kvHead): KvSegment => {
    const held = Math.max(0, length - kvHead * ragged);
    return {
      length: held,
      keys: storedEntries(keys, held, headDim, groupSize, seed + 10 * kvHead + 1),
      values: storedEntries(values, held, headDim, groupSize, seed + 10 * kvHead + 2),
      positions: positionsWithGaps(held, kvHead % 2, every),
    };
  });
  const last = positionsWithGaps(length + 1, 0, every)[length];
  return {
    shape: { heads, kvHeads, headDim, window },
    query: normal(rows * heads * headDim, seed),
    positions: Int32Array.from({ length: rows }, (_, row) => last - rows + row),
    segments,
  };
}

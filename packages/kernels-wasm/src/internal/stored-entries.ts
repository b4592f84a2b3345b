import type { KvEntries } from '../kv-segment.js';
import type { Arena } from './arena.js';
import { align, SIDE, STORED } from './attention-layout.js';

/** The array of the entries themselves. */
export function entriesData(entries: KvEntries): Float32Array | Uint16Array | Int8Array | Uint8Array {
  return entries instanceof Float32Array ? entries : entries.data;
}

/** Bytes to copy into an arena, each array on a cache line of its own. */
export function missingBytes(arena: Arena, entries: KvEntries, length: number, headDim: number): number {
  let bytes = arena.owns(entriesData(entries)) ? 0 : align(dataBytes(entries, length, headDim));
  if (entries instanceof Float32Array || entries.type === 'f16') return bytes;
  const { scales, offsets } = entries;
  const scaleBytes = align(4 * scaleCount(entries, length, headDim));
  if (!arena.owns(scales)) bytes += scaleBytes;
  if (offsets !== undefined && !arena.owns(offsets)) bytes += scaleBytes;
  return bytes;
}

/** Writes the record of keys or values at `side`, and what does not lie in the arena from `free` on; returns what is free then. */
export function placeEntries(
  arena: Arena,
  entries: KvEntries,
  length: number,
  headDim: number,
  side: number,
  free: number,
): number {
  const { integers } = arena;
  const at = side / 4;
  const bytes = dataBytes(entries, length, headDim);
  const data = entriesData(entries);
  integers[at + SIDE.data / 4] = placed(arena, data, bytes, free);
  let next = arena.owns(data) ? free : free + align(bytes);
  if (entries instanceof Float32Array || entries.type === 'f16') {
    integers[at + SIDE.type / 4] = entries instanceof Float32Array ? STORED.f32 : STORED.f16;
    return next;
  }
  const { type, grouping, groupSize, scales, offsets } = entries;
  const scaleBytes = 4 * scaleCount(entries, length, headDim);
  integers[at + SIDE.type / 4] = storedCodes(type === 'int8', grouping === 'token');
  integers[at + SIDE.groupSize / 4] = groupSize;
  integers[at + SIDE.groups / 4] = Math.ceil(headDim / groupSize);
  integers[at + SIDE.scales / 4] = placed(arena, scales, scaleBytes, next);
  if (!arena.owns(scales)) next += align(scaleBytes);
  integers[at + SIDE.offsets / 4] = offsets === undefined ? 0 : placed(arena, offsets, scaleBytes, next);
  if (offsets !== undefined && !arena.owns(offsets)) next += align(scaleBytes);
  return next;
}

function placed(arena: Arena, array: ArrayBufferView, bytes: number, free: number): number {
  if (arena.owns(array)) return array.byteOffset;
  arena.bytes.set(new Uint8Array(array.buffer, array.byteOffset, bytes), free);
  return free;
}

function dataBytes(entries: KvEntries, length: number, headDim: number): number {
  if (entries instanceof Float32Array) return 4 * length * headDim;
  if (entries.type === 'f16') return 2 * length * headDim;
  return length * (entries.type === 'int8' ? headDim : Math.ceil(headDim / 2));
}

function scaleCount(entries: KvEntries, length: number, headDim: number): number {
  if (entries instanceof Float32Array || entries.type === 'f16') return 0;
  const { grouping, groupSize } = entries;
  return grouping === 'token' ? length * Math.ceil(headDim / groupSize) : Math.ceil(length / groupSize) * headDim;
}

function storedCodes(bytes: boolean, byToken: boolean): number {
  if (byToken) return bytes ? STORED.int8Token : STORED.int4Token;
  return bytes ? STORED.int8Channel : STORED.int4Channel;
}

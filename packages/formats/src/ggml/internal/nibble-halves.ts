/**
 * Codes of 4 bits as ggml lays them: of a run of `2 * half` elements, byte j holds element j in its low nibble and element
 * j + half in its high nibble. (OCP's files hold adjacent elements in a byte.)
 */
import type { BlockParts } from './block-layout.js';

export function unpackNibbles(
  bytes: Uint8Array,
  at: number,
  codes: BlockParts['codes'],
  to: number,
  half: number,
): void {
  for (let j = 0; j < half; j++) {
    codes[to + j] = bytes[at + j] & 15;
    codes[to + half + j] = bytes[at + j] >>> 4;
  }
}

export function packNibbles(
  codes: BlockParts['codes'],
  from: number,
  bytes: Uint8Array,
  at: number,
  half: number,
): void {
  for (let j = 0; j < half; j++) bytes[at + j] = codes[from + j] | (codes[from + half + j] << 4);
}

/** `scale * table[code]` of a run. `half` is a multiple of 4: four bytes at once are faster. */
export function scaledNibbles(
  bytes: Uint8Array,
  at: number,
  half: number,
  scale: number,
  table: Float64Array,
  out: Float32Array,
  to: number,
): void {
  for (let j = 0; j < half; j += 4) {
    const from = at + j;
    const a = bytes[from];
    const b = bytes[from + 1];
    const c = bytes[from + 2];
    const d = bytes[from + 3];
    const low = to + j;
    out[low] = scale * table[a & 15];
    out[low + 1] = scale * table[b & 15];
    out[low + 2] = scale * table[c & 15];
    out[low + 3] = scale * table[d & 15];
    const high = low + half;
    out[high] = scale * table[a >>> 4];
    out[high + 1] = scale * table[b >>> 4];
    out[high + 2] = scale * table[c >>> 4];
    out[high + 3] = scale * table[d >>> 4];
  }
}

/** `scale * code - min` of a run, whose halves have their own scales and mins. `half` is a multiple of 4. */
export function affineNibbles(
  bytes: Uint8Array,
  at: number,
  half: number,
  lowScale: number,
  lowMin: number,
  highScale: number,
  highMin: number,
  out: Float32Array,
  to: number,
): void {
  for (let j = 0; j < half; j += 4) {
    const from = at + j;
    const a = bytes[from];
    const b = bytes[from + 1];
    const c = bytes[from + 2];
    const d = bytes[from + 3];
    const low = to + j;
    out[low] = Math.fround(lowScale * (a & 15)) - lowMin;
    out[low + 1] = Math.fround(lowScale * (b & 15)) - lowMin;
    out[low + 2] = Math.fround(lowScale * (c & 15)) - lowMin;
    out[low + 3] = Math.fround(lowScale * (d & 15)) - lowMin;
    const high = low + half;
    out[high] = Math.fround(highScale * (a >>> 4)) - highMin;
    out[high + 1] = Math.fround(highScale * (b >>> 4)) - highMin;
    out[high + 2] = Math.fround(highScale * (c >>> 4)) - highMin;
    out[high + 3] = Math.fround(highScale * (d >>> 4)) - highMin;
  }
}

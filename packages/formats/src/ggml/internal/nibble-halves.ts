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

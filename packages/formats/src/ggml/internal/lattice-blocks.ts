/** What the blocks of ggml's IQ types share: vectors of a lattice with signs and an odd multiple of the super-scale. */
import { HalftoneError } from '@halftone/tensor';
import type { BlockParts } from './block-layout.js';

/** The constant that `make` computes, computed at its first use: unpacking a lattice takes up to 2 ms. */
export function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** A lattice whose vectors are the nibbles of a word. With the signs added, each nibble is the index of a value of the group. */
export interface NibbleLattice {
  /** The values that coordinates take, at most 8. */
  readonly levels: Float64Array;
  /** For each vector, nibble k says the level of coordinate k. */
  readonly words: Int32Array;
}

export function nibbleLattice(vectors: Float32Array, vectorLength: number): NibbleLattice {
  const levels = Float64Array.from(new Set(vectors)).sort();
  const words = new Int32Array(vectors.length / vectorLength);
  for (let i = 0; i < vectors.length; i++) {
    words[Math.floor(i / vectorLength)] |= levels.indexOf(vectors[i]) << (4 * (i % vectorLength));
  }
  return { levels, words };
}

/** The bits of a sign byte, each in the highest bit of a nibble: `[256]`. */
export const signNibbles: () => Int32Array = /* @__PURE__ */ once(() => {
  const words = new Int32Array(256);
  for (let i = 0; i < 256 * 8; i++) words[i >>> 3] |= (((i >>> 3) >>> (i & 7)) & 1) << (4 * (i & 7) + 3);
  return words;
});

/** The same for the bytes of 7-bit indices: `[128]`. */
export const evenSignNibbles: () => Int32Array = /* @__PURE__ */ once(() =>
  Int32Array.from({ length: 128 }, (_, index) => signNibbles()[evenSigns(index)]),
);

/**
 * The 16 values of a group by nibble: `scale * level`, and its negative where the highest bit is set. `scale` has few enough
 * bits that no product rounds.
 */
export function signedValues(scale: number, levels: Float64Array, values: Float32Array): void {
  for (let level = 0; level < levels.length; level++) {
    const value = scale * levels[level];
    values[level] = value;
    values[8 + level] = -value;
  }
}

/** Eight values by the nibbles of a word. */
export function lookUpWord(word: number, values: Float32Array, out: Float32Array, to: number): void {
  out[to] = values[word & 15];
  out[to + 1] = values[(word >>> 4) & 15];
  out[to + 2] = values[(word >>> 8) & 15];
  out[to + 3] = values[(word >>> 12) & 15];
  out[to + 4] = values[(word >>> 16) & 15];
  out[to + 5] = values[(word >>> 20) & 15];
  out[to + 6] = values[(word >>> 24) & 15];
  out[to + 7] = values[word >>> 28];
}

/** The sign byte of a 7-bit index: bit 7 makes the number of minus signs even. Source: ggml-common.h `ksigns_iq2xs`. */
export function evenSigns(index: number): number {
  let parity = index ^ (index >>> 4);
  parity ^= parity >>> 2;
  parity ^= parity >>> 1;
  return index | ((parity & 1) << 7);
}

export function unpackSigns(byte: number, signs: Uint8Array, to: number): void {
  for (let k = 0; k < 8; k++) signs[to + k] = (byte >>> k) & 1;
}

export function packSigns(signs: Uint8Array, from: number): number {
  let byte = 0;
  for (let k = 0; k < 8; k++) byte |= signs[from + k] << k;
  return byte;
}

/** The 7-bit index of eight signs. Throws `RANGE` for an odd number of minus signs. */
export function packEvenSigns(signs: Uint8Array, from: number, type: string): number {
  const byte = packSigns(signs, from);
  const index = byte & 127;
  if (evenSigns(index) !== byte) {
    throw new HalftoneError(
      'RANGE',
      `elements ${from} to ${from + 7} have an odd number of minus signs; the blocks hold seven signs and a parity`,
      { where: `ggml ${type}`, details: { element: from } },
    );
  }
  return index;
}

/** The 32 bits at a byte address. */
export function readWord32(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

export function writeWord32(bytes: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = word >>> (8 * i);
}

/** IQ2_XXS and IQ3_XXS: four 7-bit sign indices and a 4-bit scale of a group of 32 in one word. */
export function unpackSignWord(word: number, signs: Uint8Array, to: number): number {
  for (let l = 0; l < 4; l++) unpackSigns(evenSigns((word >>> (7 * l)) & 127), signs, to + 8 * l);
  return word >>> 28;
}

export function packSignWord({ signs }: BlockParts, from: number, scale: number, type: string): number {
  let word = scale << 28;
  for (let l = 0; l < 4; l++) word |= packEvenSigns(signs, from + 8 * l, type) << (7 * l);
  return word;
}

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

/** A lattice as small whole numbers, each vector in consecutive bytes. */
export function wholeNumbers(vectors: Float32Array): Int8Array {
  return Int8Array.from(vectors);
}

/** Factors 1 and -1 for the eight bits of a sign byte, lowest first: `[256, 8]`. */
export const signFactors: () => Int8Array = /* @__PURE__ */ once(() =>
  new Int8Array(256 * 8).map((_, i) => (((i >>> 3) >>> (i & 7)) & 1 ? -1 : 1)),
);

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

import type { Storage } from '../../src/internal/layout.js';

/**
 * Codes of a block, `[vector][half][16 bytes]`: byte `4 i + j` of vector `v`, half `h` belongs to row `4 h + i`. As a
 * byte it is column `4 v + j`; as nibbles the low one is column `4 v + j` and the high one column `16 + 4 v + j`.
 */
export function codeVectors(storage: Storage): number {
  return storage === 'nibble' ? 4 : 8;
}

/** A 16-bit operand made from a vector of codes, and the position in the record of the activations that it meets. */
export interface Operand {
  readonly expression: (codes: string) => string;
  /** Counts pairs of activations; 0 to 7 are the first half of the block. */
  readonly pair: number;
}

/** Masks leave codes where they are in a word; activations carry the rest of a common factor of 256. */
export function wordOperands(storage: Storage, vector: number): readonly Operand[] {
  if (storage !== 'nibble') {
    return [
      { expression: (codes) => `i16x8.shl(${codes}, 8)`, pair: 2 * vector },
      { expression: (codes) => `v128.and(${codes}, highByte)`, pair: 2 * vector + 1 },
    ];
  }
  return [
    { expression: (codes) => `v128.and(${codes}, nibble0)`, pair: 2 * vector },
    { expression: (codes) => `v128.and(${codes}, nibble1)`, pair: 8 + 2 * vector },
    { expression: (codes) => `v128.and(${codes}, nibble2)`, pair: 2 * vector + 1 },
    { expression: (codes) => `i16x8.shr_u(${codes}, 12)`, pair: 8 + 2 * vector + 1 },
  ];
}

/** Declares the masks of `wordOperands`. */
export function wordMasks(storage: Storage): string {
  return storage !== 'nibble'
    ? 'const highByte = i16x8.splat(<i16>HIGH_BYTE);'
    : 'const nibble0 = i16x8.splat(<i16>NIBBLE), nibble1 = i16x8.splat(<i16>NIBBLE_1), nibble2 = i16x8.splat(<i16>NIBBLE_2);';
}

/** A vector of codes of at most 7 bits, made from a vector of stored codes; it meets activations `4 index` to `4 index + 3`. */
export interface ByteOperand {
  readonly expression: (codes: string) => string;
  readonly index: number;
}

export function byteOperands(storage: Storage, vector: number): readonly ByteOperand[] {
  if (storage === 'sixBit') return [{ expression: (codes) => codes, index: vector }];
  return [
    { expression: (codes) => `v128.and(${codes}, nibble)`, index: vector },
    { expression: (codes) => `v128.and(i16x8.shr_u(${codes}, 4), nibble)`, index: 4 + vector },
  ];
}

/** Declares what `byteOperands` and sums of 16-bit lanes need. */
export function byteMasks(storage: Storage): string {
  return `const ones = i16x8.splat(<i16>ONE)${storage === 'nibble' ? ', nibble = i8x16.splat(<i8>NIBBLE)' : ''};`;
}

/** Products of a code and an activation, in pairs, that 16 bits can sum in each lane: 15 or 63 times 127, twice. */
export function byteChain(storage: Storage): number {
  return storage === 'nibble' ? 8 : 2;
}

/** Signed activations first, then codes of at most 7 bits: for those all engines agree on the result. */
export function byteDot(codes: string, activations: string): string {
  return `i16x8.relaxed_dot_i8x16_i7x16_s(${activations}, ${codes})`;
}

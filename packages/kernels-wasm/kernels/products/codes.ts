import { codeBits, hasTable, type Storage } from '../../src/internal/layout.js';
import type { Build } from '../unroll.js';

/** Vectors of codes of a half of a block; see `Storage`. */
export function codeVectors(storage: Storage): number {
  return codeBits(storage);
}

/** A vector of 16 codes, one in each byte, made from a vector of stored codes. */
export interface Field {
  readonly expression: (codes: string) => string;
  /** They are those of columns `4 index` to `4 index + 3`. */
  readonly index: number;
}

/** The codes of a vector, without their table. */
export function fields(storage: Storage, vector: number): readonly Field[] {
  const bits = codeBits(storage);
  if (bits === 8) return [{ expression: (codes) => codes, index: vector }];
  return Array.from({ length: 8 / bits }, (_, plane) => ({
    // What a shift of 16-bit lanes brings in from the neighbour is masked away.
    expression: (codes) => `v128.and(${plane === 0 ? codes : `i16x8.shr_u(${codes}, ${bits * plane})`}, field)`,
    index: codeVectors(storage) * plane + vector,
  }));
}

/** Declares the mask of `fields`. */
export function fieldMask(storage: Storage): string {
  const bits = codeBits(storage);
  return bits === 8 ? '' : `const field = i8x16.splat(<i8>${bits === 4 ? 'NIBBLE' : 'CRUMB'});`;
}

/** The entries of a table that codes stand for. */
export function lookUp(build: Build, table: string, codes: string): string {
  return `i8x16.${build === 'relaxed' ? 'relaxed_' : ''}swizzle(${table}, ${codes})`;
}

/** A 16-bit operand made from a vector of codes, and the position in the record of the activations that it meets. */
export interface Operand {
  readonly expression: (codes: string) => string;
  /** Counts pairs of activations; 0 to 7 are the first half of the block. */
  readonly pair: number;
}

/** What has to be named before operands are made of it: `expression` of a vector of stored codes. */
export interface WordSource {
  readonly expression: (codes: string) => string;
  readonly operands: readonly Operand[];
}

/**
 * 16-bit operands of a vector of codes. Small codes stay where they are in a word, and activations carry the rest of a common
 * factor of 256; bytes are moved to the upper half of a word.
 */
export function wordSources(build: Build, storage: Storage, vector: number): readonly WordSource[] {
  if (storage === 'nibble') return nibbleSources(vector);
  if (storage === 'crumb') return crumbSources(vector);
  return fields(storage, vector).map(({ expression, index }) => ({
    expression: (codes) => (hasTable(storage) ? lookUp(build, 'table', expression(codes)) : expression(codes)),
    operands: [
      { expression: (bytes) => `i16x8.shl(${bytes}, 8)`, pair: 2 * index },
      { expression: (bytes) => `v128.and(${bytes}, highByte)`, pair: 2 * index + 1 },
    ],
  }));
}

function nibbleSources(vector: number): readonly WordSource[] {
  const operands: readonly Operand[] = [
    { expression: (codes) => `v128.and(${codes}, nibble0)`, pair: 2 * vector },
    { expression: (codes) => `v128.and(${codes}, nibble1)`, pair: 8 + 2 * vector },
    { expression: (codes) => `v128.and(${codes}, nibble2)`, pair: 2 * vector + 1 },
    { expression: (codes) => `i16x8.shr_u(${codes}, 12)`, pair: 8 + 2 * vector + 1 },
  ];
  return [{ expression: (codes) => codes, operands }];
}

function crumbSources(vector: number): readonly WordSource[] {
  return [0, 1].map((odd) => ({
    expression: (codes) => (odd ? `i16x8.shr_u(${codes}, 8)` : codes),
    operands: [0, 1, 2, 3].map((plane) => ({
      expression: (codes) => `v128.and(${codes}, crumb${plane})`,
      pair: 2 * (2 * plane + vector) + odd,
    })),
  }));
}

/** Declares what `wordSources` needs. */
export function wordMasks(storage: Storage): string {
  if (storage === 'nibble') {
    return 'const nibble0 = i16x8.splat(<i16>NIBBLE), nibble1 = i16x8.splat(<i16>NIBBLE_1), nibble2 = i16x8.splat(<i16>NIBBLE_2);';
  }
  if (storage === 'crumb') {
    return 'const crumb0 = i16x8.splat(<i16>CRUMB), crumb1 = i16x8.splat(<i16>CRUMB_1), crumb2 = i16x8.splat(<i16>CRUMB_2), crumb3 = i16x8.splat(<i16>CRUMB_3);';
  }
  return `const highByte = i16x8.splat(<i16>HIGH_BYTE); ${fieldMask(storage)}`;
}

/** Declares what `fields` and sums of 16-bit lanes need. */
export function byteMasks(storage: Storage): string {
  return `const ones = i16x8.splat(<i16>ONE); ${fieldMask(storage)}`;
}

/** Products of a code and an activation, in pairs, that 16 bits can sum in each lane: 15 or 63 times 127, twice. */
export function byteChain(storage: Storage): number {
  return storage === 'sixBit' ? 2 : 8;
}

/** Signed activations first, then codes of at most 7 bits: for those all engines agree on the result. */
export function byteDot(codes: string, activations: string): string {
  return `i16x8.relaxed_dot_i8x16_i7x16_s(${activations}, ${codes})`;
}

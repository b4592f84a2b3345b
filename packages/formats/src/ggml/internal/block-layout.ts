import { float16ToNumber, type GgmlType, type Tensor } from '@halftone/tensor';
import type { GgmlSuperBlockType } from '@halftone/tensor/ggml';

/**
 * The fields of consecutive ggml blocks as flat arrays, in the order of the blocks.
 *
 * `scales` and `offsets` hold float bits, one a block (NVFP4: one a group): f16, or the 8-bit float of the type. Where groups
 * have scales of their own they are the super-scales, and `scaleCodes` and `offsetCodes` hold the codes of the groups.
 * Arrays that a type does not use are empty.
 */
export interface BlockParts {
  /** One an element; on vector grids one a vector. */
  readonly codes: Int8Array | Uint8Array | Uint16Array;
  /** 1 where the element is negated. */
  readonly signs: Uint8Array;
  readonly scales: Uint16Array | Uint8Array;
  readonly offsets: Uint16Array | Uint8Array;
  readonly scaleCodes: Int8Array | Uint8Array | Uint16Array;
  readonly offsetCodes: Int8Array | Uint8Array | Uint16Array;
}

/**
 * How one block type lies in bytes. All functions work on `blocks` consecutive blocks and trust their arguments:
 * `ggmlCodec` checks sizes, ranges and tables.
 */
export interface BlockLayout {
  /** Writes the values. Rounds to float32 after every product and sum, as ggml does. */
  decode(bytes: Uint8Array, blocks: number, out: Float32Array): void;
  /** Throws `RANGE` for bytes that no parts stand for. */
  unpack(bytes: Uint8Array, blocks: number, parts: BlockParts): void;
  /** Inverse of `unpack`. `bytes` is zero. Throws `RANGE` for codes in the grid that a block cannot hold together. */
  pack(parts: BlockParts, blocks: number, bytes: Uint8Array): void;
  /** Type of the stored floats. Default: `f16`. */
  readonly scaleType?: 'f8_e8m0' | 'f8_e4m3';
  /** Gives the table of a lookup grid. Part of the layout, so that bundles without lookup types hold no tables. */
  readonly codebook?: (type: GgmlType) => Tensor<Float32Array> | undefined;
  /** Gives the table of the group scales, where they are looked up. */
  readonly scaleCodebook?: (type: GgmlSuperBlockType) => Tensor<Float32Array> | undefined;
}

/** The f16 word at a byte address, which may be odd. */
export function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** The f16 value at a byte address. */
export function readHalf(bytes: Uint8Array, at: number): number {
  return halfToNumber(readWord(bytes, at));
}

/** `float16ToNumber` without a branch on the sign, which is as good as random: it would cost blocks of 32 a tenth. */
export function halfToNumber(word: number): number {
  const exponent = (word >>> 10) & 31;
  if (exponent === 0 || exponent === 31) return float16ToNumber(word);
  const sign = 1 - ((word >>> 14) & 2);
  return sign * ((word & 0x3ff) + 1024) * (1 << exponent) * 2 ** -25;
}

export function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word & 0xff;
  bytes[at + 1] = word >>> 8;
}

/** Flips the sign of f16 bits: ggml subtracts its mins, the parts add their offsets. */
export const SIGN_BIT = 0x8000;

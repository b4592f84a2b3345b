/**
 * The fields of consecutive ggml blocks as flat arrays, in the order of the blocks.
 *
 * `scales` and `offsets` hold f16 bits, one a block; for K-quants they are the super-scales, and `scaleCodes` and
 * `offsetCodes` hold the integer scales of the groups. Arrays that a type does not use are empty.
 */
export interface BlockParts {
  readonly codes: Int8Array | Uint8Array;
  readonly scales: Uint16Array;
  readonly offsets: Uint16Array;
  readonly scaleCodes: Int8Array | Uint8Array;
  readonly offsetCodes: Int8Array | Uint8Array;
}

/**
 * How one block type lies in bytes. All functions work on `blocks` consecutive blocks and trust their arguments:
 * `ggmlCodec` checks sizes and ranges.
 */
export interface BlockLayout {
  /** Writes the values. Rounds to float32 after every product and sum, as ggml does. */
  decode(bytes: Uint8Array, blocks: number, out: Float32Array): void;
  unpack(bytes: Uint8Array, blocks: number, parts: BlockParts): void;
  /** Inverse of `unpack`. `bytes` is zero. */
  pack(parts: BlockParts, blocks: number, bytes: Uint8Array): void;
}

/** The f16 word at a byte address, which may be odd. */
export function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

export function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word & 0xff;
  bytes[at + 1] = word >>> 8;
}

/** Flips the sign of f16 bits: ggml subtracts its mins, the parts add their offsets. */
export const SIGN_BIT = 0x8000;

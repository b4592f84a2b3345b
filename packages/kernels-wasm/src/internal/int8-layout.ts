import { BLOCK, PANEL, type WasmBuild } from './layout.js';

/** Sizes that the generated kernels of the `int8` module and their callers agree on. */

/** How codes are stored: two in a byte with 8 added, or one in a byte. */
export type Int8Storage = 'byte' | 'nibble';

/** Rows of activations in a tile of the 16-bit kernels. */
export const TILE_ROWS = 4;
/** Blocks of a panel that are expanded to 16 bits together. With more, memory idles while their products are computed. */
export const EXPANDED_BLOCKS = 2;
export const EXPANDED_BYTES = EXPANDED_BLOCKS * BLOCK * PANEL * 2;
/** What is added to codes in nibbles. */
export const NIBBLE_CENTER = 8;

/** Bytes of 8 output features and 32 columns. */
export function int8BlockBytes(storage: Int8Storage): number {
  return storage === 'nibble' ? (PANEL * BLOCK) / 2 : PANEL * BLOCK;
}

/** A group's own scales for 8 output features, before its blocks: float32, or integers in 32 bits. */
export const GROUP_HEADER = 4 * PANEL;

/** What a sum over a group of columns is multiplied by before it is added to the others. */
export const GROUP_LEVELS = { none: 0, integer: 1, float: 2 } as const;
export type GroupLevel = keyof typeof GROUP_LEVELS;

/** `bytes` are `[block][row][32]` for 8-bit dot products; others hold pairs of columns in 16 bits, alone or in tiles of rows. */
export type Int8Format = 'bytes' | 'tiles' | 'words' | 'nibbleWords';

export function int8Format(build: WasmBuild, storage: Int8Storage, one: boolean): Int8Format {
  if (storage === 'nibble' && build === 'relaxed') return 'bytes';
  if (!one) return 'tiles';
  return storage === 'nibble' ? 'nibbleWords' : 'words';
}

/** Bytes of a column of a row of packed activations. */
export function int8FormatBytes(format: Int8Format): number {
  return format === 'bytes' ? 1 : 2;
}

/** Where columns `4 i` to `4 i + 3` go within the four bytes of a vector that they take. */
export function nibbleOrder(build: WasmBuild): readonly number[] {
  return build === 'relaxed' ? [0, 1, 2, 3] : [0, 2, 1, 3];
}

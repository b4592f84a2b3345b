/** Sizes that the generated kernels and their callers agree on. `kernels/` imports them to write the kernels. */

/** `relaxed` uses fused multiply-add and 8-bit dot products, which not every engine accepts. */
export type WasmBuild = 'simd' | 'relaxed';

/** Output features in a weight panel: two vectors of four. */
export const PANEL = 8;
/** Columns of a quantized block, and of a run of activations with one scale. */
export const BLOCK = 32;
/** Columns multiplied before sums go back to memory: a float weight panel of this depth takes 8 kB. */
export const DEPTH = 256;
/** Values that are one item of a job where every value stands alone. */
export const PIECE = 1024;

/** Float panels that share a depth block of tiles while it is in a near cache. */
export const GROUP_PANELS = 16;
/** Rows of quantized activations that the 16-bit kernels take together. */
export const RECORD_ROWS = 4;
/** A block of codes as operands of 16-bit products. */
export const EXPANDED_BYTES = PANEL * BLOCK * 2;

/** Rows of `x` in the float tile. Six rows use all sixteen vector registers and need multiply-add to pay off. */
export function tileRows(build: WasmBuild): number {
  return build === 'relaxed' ? 6 : 4;
}

/**
 * How codes are stored: four in a byte, 0 to 3; two in a byte, 0 to 15; one in a byte, 0 to 63, which 8-bit dot products take;
 * one in a byte, signed. Those with a table stand for its entries, which are signed bytes.
 *
 * The codes of a block of 8 rows and 32 columns are vectors of 16 bytes, `[vector][half][16]`: byte `4 i + j` of vector `v`, half
 * `h` belongs to row `4 h + i`. Of `n` vectors, bits `b p` and up of the byte, with `b` bits a code, are column `4 (n p + v) + j`.
 */
export type Storage = 'crumb' | 'nibble' | 'sixBit' | 'byte' | 'crumbTable' | 'nibbleTable';

export function hasTable(storage: Storage): boolean {
  return storage === 'crumbTable' || storage === 'nibbleTable';
}

/** Bits that a code takes. */
export function codeBits(storage: Storage): 2 | 4 | 8 {
  if (storage === 'crumb' || storage === 'crumbTable') return 2;
  return storage === 'nibble' || storage === 'nibbleTable' ? 4 : 8;
}

/** Entries of a table. */
export const TABLE = 16;
/** Tables of 8-bit integers, then of float32 as byte planes: the lowest bytes of all entries first. */
export const TABLE_BYTES = 5 * TABLE;

/** A kind of quantized weight that has kernels of its own. */
export interface Layout {
  readonly storage: Storage;
  /** Scales for a row in a block of 32 columns. */
  readonly groups: 1 | 2;
  readonly offsets: boolean;
}

export type LayoutName = `${Storage}${1 | 2}${'' | 'Offset'}`;

/** `nibble1`, `byte2Offset`, ... */
export function layoutName({ storage, groups, offsets }: Layout): LayoutName {
  return `${storage}${groups}${offsets ? 'Offset' : ''}`;
}

/** Bytes of a block of 8 rows and 32 columns before its codes: scales, then offsets. */
export function headerBytes({ groups, offsets }: Layout): number {
  return groups * PANEL * 4 * (offsets ? 2 : 1);
}

export function codeBytes(storage: Storage): number {
  return (PANEL * BLOCK * codeBits(storage)) / 8;
}

export function blockBytes(layout: Layout): number {
  return headerBytes(layout) + codeBytes(layout.storage);
}

/** How activations are stored: one in a byte, or one in a 16-bit word, scaled for the masks of crumbs or nibbles or not. */
export type ActivationFormat = 'bytes' | 'crumbWords' | 'nibbleWords' | 'words';

export function activationFormat(build: WasmBuild, storage: Storage): ActivationFormat {
  if (storage === 'byte' || hasTable(storage)) return 'words';
  if (build === 'relaxed') return 'bytes';
  return storage === 'crumb' ? 'crumbWords' : storage === 'nibble' ? 'nibbleWords' : 'words';
}

export function activationBytes(format: ActivationFormat): number {
  return format === 'bytes' ? BLOCK : 2 * BLOCK;
}

/**
 * What follows the codes in a record of 32 quantized activations:
 * the scale, then for the whole record and for each half `-center * sum` (i32), then the same three as `scale * sum` (f32).
 */
export const RECORD_TAIL = 32;

export function recordBytes(format: ActivationFormat): number {
  return activationBytes(format) + RECORD_TAIL;
}

/** The first part of the names of the kernels for a layout. With 16-bit words, six-bit codes are bytes like others. */
export function kernelName(build: WasmBuild, layout: Layout): LayoutName {
  return layoutName(build === 'simd' && layout.storage === 'sixBit' ? { ...layout, storage: 'byte' } : layout);
}

/** Codes in rows of little-endian int32 words, low-first: what GPTQ, AWQ and compressed-tensors share. */
import { DTYPES, type DType, nativeData, type PackedTensor, packBits, packed, unpackBits } from '@halftone/tensor';

/**
 * `dense`: a row is one stream of bits, codes may cross words. `padded`: a word holds `floor(32 / bits)` whole codes, its
 * highest bits stay 0. They are the same for widths that divide 32.
 */
export type WordPacking = 'dense' | 'padded';

/** Words that `columns` codes take. */
export function wordsPerRow(columns: number, bits: number, packing: WordPacking = 'dense'): number {
  return packing === 'dense' ? Math.ceil((columns * bits) / 32) : Math.ceil(columns / Math.floor(32 / bits));
}

/** `[rows, columns]` codes, one a byte, from `[rows, wordsPerRow]` words. */
export function unpackWordRows(
  words: Uint8Array,
  bits: number,
  rows: number,
  columns: number,
  packing: WordPacking = 'dense',
): Uint8Array {
  const codes = new Uint8Array(rows * columns);
  forEachRun(bits, rows, columns, packing, (start, end, from, to) => {
    unpackBits(words.subarray(from, to), bits, end - start, false, codes.subarray(start, end));
  });
  return codes;
}

/** `[rows, wordsPerRow]` words from `[rows, columns]` codes. */
export function packWordRows(
  codes: Uint8Array,
  bits: number,
  rows: number,
  columns: number,
  packing: WordPacking = 'dense',
): Uint8Array {
  const words = new Uint8Array(rows * wordsPerRow(columns, bits, packing) * 4);
  forEachRun(bits, rows, columns, packing, (start, end, from, to) => {
    packBits(codes.subarray(start, end), bits, words.subarray(from, to));
  });
  return words;
}

/** Visits runs of codes `[start, end)` that are dense streams, with their bytes `[from, to)`. */
function forEachRun(
  bits: number,
  rows: number,
  columns: number,
  packing: WordPacking,
  visit: (start: number, end: number, from: number, to: number) => void,
): void {
  const rowBytes = wordsPerRow(columns, bits, packing) * 4;
  if (columns * bits === rowBytes * 8) {
    visit(0, rows * columns, 0, rows * rowBytes);
    return;
  }
  const run = packing === 'dense' || 32 % bits === 0 ? columns : Math.floor(32 / bits);
  const runBytes = run === columns ? rowBytes : 4;
  for (let row = 0; row < rows; row++) {
    for (let column = 0, from = row * rowBytes; column < columns; column += run, from += runBytes) {
      const start = row * columns;
      visit(start + column, start + Math.min(column + run, columns), from, from + runBytes);
    }
  }
}

/** The matrix `[rows, columns]` as `[columns, rows]`. Elements must be of 8, 16 or 32 bits. */
export function transposed<T extends DType>(matrix: PackedTensor<T>): PackedTensor<T> {
  const [rows, columns] = matrix.shape as readonly [number, number];
  const { bits } = DTYPES[matrix.dtype];
  const carrier = bits === 8 ? 'u8' : bits === 16 ? 'u16' : 'u32';
  const source = nativeData({ ...matrix, dtype: carrier });
  const target = new (source.constructor as new (length: number) => typeof source)(source.length);
  // Square tiles: both sides then stay in the cache.
  const tile = 32;
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows);
    for (let left = 0; left < columns; left += tile) {
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          target[column * rows + row] = source[row * columns + column] as number;
        }
      }
    }
  }
  return packed(matrix.dtype, [columns, rows], new Uint8Array(target.buffer));
}

/** Transposes `[rows, columns]` codes. */
export function transposedCodes(codes: Uint8Array, rows: number, columns: number): Uint8Array {
  return transposed(packed('u8', [rows, columns], codes)).bytes;
}

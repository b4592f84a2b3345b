/**
 * HQQ's packing. Codes stand in a matrix of groups, `[rows, width]`; its rows are cut into as many equal bands as codes fit in a
 * word, and a word takes one code of each band, the first in the highest bits. Three bits: ten bands, rows of zeros at the end
 * where they are not a multiple of ten. Source: hqq, `core/bitpack.py`.
 */
interface Packing {
  /** Codes in a word. */
  readonly bands: number;
  readonly bits: number;
  readonly wordBytes: 1 | 4;
  /** Rows that the packer fills up, where it does not take every number of them. */
  readonly pads: boolean;
}

export const HQQ_PACKINGS: Readonly<Record<string, Packing>> = {
  '8bit_u8': { bands: 1, bits: 8, wordBytes: 1, pads: false },
  '4bit_u8': { bands: 2, bits: 4, wordBytes: 1, pads: false },
  '3bit_32': { bands: 10, bits: 3, wordBytes: 4, pads: true },
  '2bit_u8': { bands: 4, bits: 2, wordBytes: 1, pads: false },
  '1bit_u8': { bands: 8, bits: 1, wordBytes: 1, pads: false },
};

/** The packing of each width; 5 and 6 bits take a byte each. */
export const HQQ_PACKING_OF_BITS: ReadonlyMap<number, string> = new Map([
  [8, '8bit_u8'],
  [6, '8bit_u8'],
  [5, '8bit_u8'],
  [4, '4bit_u8'],
  [3, '3bit_32'],
  [2, '2bit_u8'],
  [1, '1bit_u8'],
]);

/** Rows of words, or undefined where the packing does not take so many rows of codes. */
export function hqqWordRows(rows: number, { bands, pads }: Packing): number | undefined {
  return pads || rows % bands === 0 ? Math.ceil(rows / bands) : undefined;
}

/** Codes of `[rows, width]` from words of `[wordRows, width]`. */
export function unpackHqq(bytes: Uint8Array, packing: Packing, rows: number, width: number): Uint8Array {
  const { bands, bits, wordBytes } = packing;
  const bandLength = Math.ceil(rows / bands) * width;
  const words = wordBytes === 1 ? bytes : new Uint32Array(bytes.slice().buffer);
  const codes = new Uint8Array(rows * width);
  const mask = 2 ** bits - 1;
  for (let band = 0, i = 0; i < codes.length; band++) {
    const shift = (bands - 1 - band) * bits;
    const end = Math.min(i + bandLength, codes.length);
    for (let at = 0; i < end; at++, i++) codes[i] = ((words[at] as number) >>> shift) & mask;
  }
  return codes;
}

/** Words of `[wordRows, width]` from codes of `[rows, width]`. */
export function packHqq(codes: ArrayLike<number>, packing: Packing, rows: number, width: number): Uint8Array {
  const { bands, bits, wordBytes } = packing;
  const bandLength = Math.ceil(rows / bands) * width;
  const words = wordBytes === 1 ? new Uint8Array(bandLength) : new Uint32Array(bandLength);
  const count = rows * width;
  for (let band = 0, i = 0; i < count; band++) {
    const shift = (bands - 1 - band) * bits;
    const end = Math.min(i + bandLength, count);
    for (let at = 0; i < end; at++, i++) words[at] = (words[at] as number) | ((codes[i] as number) << shift);
  }
  return new Uint8Array(words.buffer);
}

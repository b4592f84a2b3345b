import { GGML_TYPES, type GgmlType, type PackedTensor } from '@halftone/tensor';

/** Byte addresses of the f16 fields in a block. */
const FLOAT_FIELDS: Readonly<Partial<Record<GgmlType, readonly number[]>>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

/** Zeros, smallest and largest subnormal, one, largest, and their negatives. */
const SPECIAL_SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x3c00, 0xbc00, 0x7bff, 0xfbff];

/** Random blocks whose scales are finite; the first blocks have the special scales. Same seed, same bytes. */
export function randomBlocks(type: GgmlType, rows: number, columns: number, seed: number): PackedTensor<GgmlType> {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const blocks = (rows * columns) / blockSize;
  const bytes = new Uint8Array(blocks * blockBytes);
  let state = seed;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  for (let block = 0; block < blocks; block++) {
    for (const [index, field] of (FLOAT_FIELDS[type] ?? []).entries()) {
      const at = block * blockBytes + field;
      if (block < SPECIAL_SCALES.length) {
        const word = SPECIAL_SCALES[(block * (index + 1)) % SPECIAL_SCALES.length];
        bytes[at] = word & 0xff;
        bytes[at + 1] = word >>> 8;
      }
      if ((bytes[at + 1] & 0x7c) === 0x7c) bytes[at + 1] ^= 0x10;
    }
  }
  return { kind: 'packed', dtype: type, shape: [rows, columns], bytes };
}

/** Index of the first value whose bits differ (the sign of zero counts), or -1. Throws when the lengths do. */
export function firstDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`);
  const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);
  const expectedBits = bits(expected);
  return bits(actual).findIndex((word, i) => word !== expectedBits[i]);
}

import { GGML_TYPES, type GgmlType, type PackedTensor } from '@halftone/tensor';

/** Byte addresses of the f16 fields in a block. That of IQ1_M is scattered; MXFP4 and NVFP4 have none. */
const FLOAT_FIELDS: Readonly<Record<GgmlType, readonly number[]>> = {
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
  IQ1_S: [0],
  IQ1_M: [],
  IQ2_XXS: [0],
  IQ2_XS: [0],
  IQ2_S: [0],
  IQ3_XXS: [0],
  IQ3_S: [0],
  IQ4_NL: [0],
  IQ4_XS: [0],
  TQ1_0: [52],
  TQ2_0: [64],
  MXFP4: [],
  NVFP4: [],
  Q1_0: [0],
  Q2_0: [0],
};

/** Zeros, smallest and largest subnormal, one, largest, and their negatives. */
const SPECIAL_SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x3c00, 0xbc00, 0x7bff, 0xfbff];

/** Bytes at the start of a block that are 8-bit float scales. */
const SCALE_BYTES: Readonly<Record<string, number>> = { MXFP4: 1, NVFP4: 4 };

/** Zero, subnormals, one, 448, 480 (0x7E, 0x7F) and bytes with the sign that ggml ignores; or small and large powers of two. */
const SPECIAL_BYTES = [0x00, 0x01, 0x07, 0x08, 0x38, 0x7e, 0x7f, 0x80, 0x81, 0xfe];

/**
 * Random blocks whose scales are finite; the first blocks have the special scales. Same seed, same bytes.
 * Scale bytes of MXFP4 and NVFP4 are any but 0xFF, which cannot be unpacked.
 */
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
    const bytesOfBlock = bytes.subarray(block * blockBytes, (block + 1) * blockBytes);
    for (const [index, at] of FLOAT_FIELDS[type].entries()) {
      if (block < SPECIAL_SCALES.length) {
        const word = SPECIAL_SCALES[(block * (index + 1)) % SPECIAL_SCALES.length];
        bytesOfBlock[at] = word & 0xff;
        bytesOfBlock[at + 1] = word >>> 8;
      }
      if ((bytesOfBlock[at + 1] & 0x7c) === 0x7c) bytesOfBlock[at + 1] ^= 0x10;
    }
    if (type === 'IQ1_M') fixScatteredScale(bytesOfBlock, SPECIAL_SCALES[block]);
    for (let at = 0; at < (SCALE_BYTES[type] ?? 0) && block < SPECIAL_BYTES.length; at++) {
      bytesOfBlock[at] = SPECIAL_BYTES[(block * (at + 1)) % SPECIAL_BYTES.length];
    }
  }
  replaceNanScales(type, bytes);
  return { kind: 'packed', dtype: type, shape: [rows, columns], bytes };
}

/** IQ1_M: nibble i of the f16 is the upper half of byte 49 + 2 i. Sets it, or keeps it finite. */
function fixScatteredScale(block: Uint8Array, word: number | undefined): void {
  for (let i = 0; i < 4 && word !== undefined; i++) {
    block[49 + 2 * i] = (block[49 + 2 * i] & 15) | (((word >>> (4 * i)) & 15) << 4);
  }
  if ((block[55] & 0x70) === 0x70 && (block[53] & 0xc0) === 0xc0) block[55] ^= 0x40;
}

/** Scale bytes of 0xFF, which cannot be unpacked, become 0x55. */
export function replaceNanScales(type: GgmlType, bytes: Uint8Array): void {
  const { blockBytes } = GGML_TYPES[type];
  for (let i = 0; i < bytes.length; i++) {
    if (i % blockBytes < (SCALE_BYTES[type] ?? 0) && bytes[i] === 0xff) bytes[i] = 0x55;
  }
}

/**
 * Replaces the bytes of random blocks that no encoder writes by those of the same values that one does: scales of NVFP4 lose
 * their sign and 0x7F becomes 0, bytes of TQ1_0 become the fraction of 243 that has their digits, rounded up.
 */
export function canonicalBytes({ dtype, bytes }: PackedTensor<GgmlType>): Uint8Array {
  const { blockBytes } = GGML_TYPES[dtype];
  return bytes.map((byte, i) => {
    const at = i % blockBytes;
    if (dtype === 'NVFP4' && at < 4) return (byte & 0x7f) === 0x7f ? 0 : byte & 0x7f;
    if (dtype !== 'TQ1_0' || at >= 52) return byte;
    // Bytes 48 to 51 hold four digits: the fifth is 0.
    const step = at < 48 ? 1 : 3;
    let fraction = 0;
    while (Math.ceil(((fraction + step) * 256) / 243) <= byte && fraction + step < 243) fraction += step;
    return Math.ceil((fraction * 256) / 243);
  });
}

/** Index of the first value whose bits differ (the sign of zero counts), or -1. Throws when the lengths do. */
export function firstDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, expected ${expected.length}`);
  const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);
  const expectedBits = bits(expected);
  return bits(actual).findIndex((word, i) => word !== expectedBits[i]);
}

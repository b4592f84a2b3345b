/**
 * TQ1_0 and TQ2_0: 256 ternary codes with one f16 scale d; `d * (q - 1)`.
 *
 * TQ1_0: 48 bytes of five base-3 digits, 4 bytes of four, d. Runs of 32, 16 and 4 bytes hold the elements digit by digit: all
 * first digits, all second ones, and so on. A byte is the digits as a fraction of 3^5, first digit highest, times 256, rounded
 * up. 13 bytes (in the last run 175) are no such number, but decode to the digits of another byte.
 * TQ2_0: 64 bytes of four codes of 2 bits, d. Runs of 32 bytes hold the elements pair by pair. Code 3 stands for 2.
 * Source: ggml-common.h `block_tq1_0`, `block_tq2_0`; ggml-quants.c `dequantize_row_tq1_0`, `dequantize_row_tq2_0`.
 */
import { ggmlCodebook } from '@halftone/tensor/codebooks';
import { type BlockParts, readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES_1 = 54;
const SCALE_1 = 52;
const BYTES_2 = 66;
const SCALE_2 = 64;
const POWERS_OF_3 = [1, 3, 9, 27, 81] as const;

export const tq1_0: GgmlCodec<'TQ1_0'> = /* @__PURE__ */ ggmlCodec('TQ1_0', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    const pairs = digitPairs();
    const values = new Float32Array(4);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_1, to += 256) {
      const d = readHalf(bytes, at + SCALE_1);
      for (let code = 0; code < 4; code++) values[code] = d * (code - 1);
      decodeDigits(bytes, at, 32, pairs, values, out, to);
      decodeDigits(bytes, at + 32, 16, pairs, values, out, to + 160);
      decodeDigits(bytes, at + 48, 4, pairs, values, out, to + 240);
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_1, to += 256) {
      scales[block] = readWord(bytes, at + SCALE_1);
      unpackDigits(bytes, at, 32, 5, codes, to);
      unpackDigits(bytes, at + 32, 16, 5, codes, to + 160);
      unpackDigits(bytes, at + 48, 4, 4, codes, to + 240);
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES_1, from += 256) {
      writeWord(bytes, at + SCALE_1, scales[block]);
      packDigits(codes, from, bytes, at, 32, 5);
      packDigits(codes, from + 160, bytes, at + 32, 16, 5);
      packDigits(codes, from + 240, bytes, at + 48, 4, 4);
    }
  },
});

export const tq2_0: GgmlCodec<'TQ2_0'> = /* @__PURE__ */ ggmlCodec('TQ2_0', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_2) {
      const d = readHalf(bytes, at + SCALE_2);
      for (let run = 0, from = at; run < 2; run++, from += 32, to += 128) {
        for (let j = 0; j < 32; j++) {
          const byte = bytes[from + j];
          out[to + j] = d * ((byte & 3) - 1);
          out[to + 32 + j] = d * (((byte >>> 2) & 3) - 1);
          out[to + 64 + j] = d * (((byte >>> 4) & 3) - 1);
          out[to + 96 + j] = d * ((byte >>> 6) - 1);
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_2, to += 256) {
      scales[block] = readWord(bytes, at + SCALE_2);
      for (let i = 0; i < 256; i++) codes[to + i] = (bytes[at + byteOf(i)] >>> shiftOf(i)) & 3;
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES_2, from += 256) {
      writeWord(bytes, at + SCALE_2, scales[block]);
      for (let i = 0; i < 256; i++) bytes[at + byteOf(i)] |= codes[from + i] << shiftOf(i);
    }
  },
});

function byteOf(element: number): number {
  return ((element >>> 7) << 5) | (element & 31);
}

function shiftOf(element: number): number {
  return ((element >>> 5) & 3) * 2;
}

/** Multiplying by 3^n moves digit n of the fraction to the front; three times what is left of the byte overflows into it. */
function digitOf(byte: number, power: number): number {
  return (((byte * power) & 255) * 3) >>> 8;
}

/** For each byte its five digits as pairs of bits, lowest first. */
function digitPairs(): Uint16Array {
  return Uint16Array.from({ length: 256 }, (_, byte) =>
    POWERS_OF_3.reduce<number>((pairs, power, n) => pairs | (digitOf(byte, power) << (2 * n)), 0),
  );
}

/** `values` holds those of the three digits (and one that no digit is). */
function decodeDigits(
  bytes: Uint8Array,
  at: number,
  count: number,
  pairs: Uint16Array,
  values: Float32Array,
  out: Float32Array,
  to: number,
): void {
  for (let j = 0; j < count; j++) {
    const digits = pairs[bytes[at + j]];
    const first = to + j;
    out[first] = values[digits & 3];
    out[first + count] = values[(digits >>> 2) & 3];
    out[first + 2 * count] = values[(digits >>> 4) & 3];
    out[first + 3 * count] = values[(digits >>> 6) & 3];
    // The last run of a block has four digits a byte.
    if (count > 4) out[first + 4 * count] = values[digits >>> 8];
  }
}

function unpackDigits(
  bytes: Uint8Array,
  at: number,
  count: number,
  digits: number,
  codes: BlockParts['codes'],
  to: number,
): void {
  for (let n = 0; n < digits; n++, to += count) {
    for (let j = 0; j < count; j++) codes[to + j] = digitOf(bytes[at + j], POWERS_OF_3[n]);
  }
}

function packDigits(
  codes: BlockParts['codes'],
  from: number,
  bytes: Uint8Array,
  at: number,
  count: number,
  digits: number,
): void {
  for (let j = 0; j < count; j++) {
    let number = 0;
    for (let n = 0; n < 5; n++) number = number * 3 + (n < digits ? codes[from + n * count + j] : 0);
    bytes[at + j] = Math.ceil((number * 256) / 243);
  }
}

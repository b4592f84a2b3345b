/**
 * Q4_0 and Q4_1: 32 codes of 4 bits. Byte j holds element j in its low and element j + 16 in its high nibble.
 *
 * Q4_0: f16 scale d, 16 bytes; `d * (nibble - 8)`. Q4_1: f16 scale d, f16 offset m, 16 bytes; `d * nibble + m`.
 * Source: ggml-common.h `block_q4_0`, `block_q4_1`; ggml-quants.c `dequantize_row_q4_0`, `dequantize_row_q4_1`.
 */
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { affineNibbles, packNibbles, scaledNibbles, unpackNibbles } from './internal/nibble-halves.js';

const BYTES_0 = 18;
const BYTES_1 = 20;

export const q4_0: GgmlCodec<'Q4_0'> = /* @__PURE__ */ ggmlCodec('Q4_0', {
  decode(bytes, blocks, out) {
    const table = Float64Array.from({ length: 16 }, (_, code) => code - 8);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_0, to += 32) {
      const d = readHalf(bytes, at);
      scaledNibbles(bytes, at + 2, 16, d, table, out, to);
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_0, to += 32) {
      scales[block] = readWord(bytes, at);
      for (let j = 0; j < 16; j++) {
        const byte = bytes[at + 2 + j];
        codes[to + j] = (byte & 15) - 8;
        codes[to + 16 + j] = (byte >>> 4) - 8;
      }
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES_0, from += 32) {
      writeWord(bytes, at, scales[block]);
      for (let j = 0; j < 16; j++) bytes[at + 2 + j] = (codes[from + j] + 8) | ((codes[from + 16 + j] + 8) << 4);
    }
  },
});

export const q4_1: GgmlCodec<'Q4_1'> = /* @__PURE__ */ ggmlCodec('Q4_1', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_1, to += 32) {
      const d = readHalf(bytes, at);
      const min = -readHalf(bytes, at + 2);
      affineNibbles(bytes, at + 4, 16, d, min, d, min, out, to);
    }
  },

  unpack(bytes, blocks, { codes, scales, offsets }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_1, to += 32) {
      scales[block] = readWord(bytes, at);
      offsets[block] = readWord(bytes, at + 2);
      unpackNibbles(bytes, at + 4, codes, to, 16);
    }
  },

  pack({ codes, scales, offsets }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES_1, from += 32) {
      writeWord(bytes, at, scales[block]);
      writeWord(bytes, at + 2, offsets[block]);
      packNibbles(codes, from, bytes, at + 4, 16);
    }
  },
});

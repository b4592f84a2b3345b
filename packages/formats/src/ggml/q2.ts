/**
 * Q2_0: f16 scale d, 64 codes of 2 bits, four adjacent ones a byte, lowest first; `d * (q - 1)`.
 * Source: ggml-common.h `block_q2_0`, ggml-quants.c `dequantize_row_q2_0`.
 */
import { ggmlCodebook } from '@halftone/tensor/codebooks';
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 18;

export const q2_0: GgmlCodec<'Q2_0'> = /* @__PURE__ */ ggmlCodec('Q2_0', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at);
      for (let from = at + 2; from < at + BYTES; from++, to += 4) {
        const byte = bytes[from];
        out[to] = d * ((byte & 3) - 1);
        out[to + 1] = d * (((byte >>> 2) & 3) - 1);
        out[to + 2] = d * (((byte >>> 4) & 3) - 1);
        out[to + 3] = d * ((byte >>> 6) - 1);
      }
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES, to += 64) {
      scales[block] = readWord(bytes, at);
      for (let i = 0; i < 64; i++) codes[to + i] = (bytes[at + 2 + (i >>> 2)] >>> (2 * (i & 3))) & 3;
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES, from += 64) {
      writeWord(bytes, at, scales[block]);
      for (let i = 0; i < 64; i++) bytes[at + 2 + (i >>> 2)] |= codes[from + i] << (2 * (i & 3));
    }
  },
});

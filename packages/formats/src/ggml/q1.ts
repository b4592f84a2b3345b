/**
 * Q1_0: f16 scale d, 128 bits, lowest bit of a byte first; d where the bit is set, else -d.
 * Source: ggml-common.h `block_q1_0`, ggml-quants.c `dequantize_row_q1_0`.
 */
import { ggmlCodebook } from '@halftone/tensor/codebooks';
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 18;

export const q1_0: GgmlCodec<'Q1_0'> = /* @__PURE__ */ ggmlCodec('Q1_0', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    const values = new Float32Array(2);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at);
      values[0] = -d;
      values[1] = d;
      for (let from = at + 2; from < at + BYTES; from++, to += 8) {
        const byte = bytes[from];
        out[to] = values[byte & 1];
        out[to + 1] = values[(byte >>> 1) & 1];
        out[to + 2] = values[(byte >>> 2) & 1];
        out[to + 3] = values[(byte >>> 3) & 1];
        out[to + 4] = values[(byte >>> 4) & 1];
        out[to + 5] = values[(byte >>> 5) & 1];
        out[to + 6] = values[(byte >>> 6) & 1];
        out[to + 7] = values[byte >>> 7];
      }
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES, to += 128) {
      scales[block] = readWord(bytes, at);
      for (let i = 0; i < 128; i++) codes[to + i] = (bytes[at + 2 + (i >>> 3)] >>> (i & 7)) & 1;
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES, from += 128) {
      writeWord(bytes, at, scales[block]);
      for (let i = 0; i < 128; i++) bytes[at + 2 + (i >>> 3)] |= codes[from + i] << (i & 7);
    }
  },
});

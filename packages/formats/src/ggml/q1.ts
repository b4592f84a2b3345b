/**
 * Q1_0: f16 scale d, 128 bits, lowest bit of a byte first; d where the bit is set, else -d.
 * Source: ggml-common.h `block_q1_0`, ggml-quants.c `dequantize_row_q1_0`.
 */
import { float16ToNumber } from '@halftone/tensor';
import { ggmlCodebook } from '@halftone/tensor/codebooks';
import { readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 18;

export const q1_0: GgmlCodec<'Q1_0'> = /* @__PURE__ */ ggmlCodec('Q1_0', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    const values = new Float32Array(2);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = float16ToNumber(readWord(bytes, at));
      values[0] = -d;
      values[1] = d;
      for (let from = at + 2; from < at + BYTES; from++, to += 8) {
        const byte = bytes[from];
        for (let k = 0; k < 8; k++) out[to + k] = values[(byte >>> k) & 1];
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

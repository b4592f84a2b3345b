/**
 * Q8_0: f16 scale, 32 signed bytes; `d * q`. Source: ggml-common.h `block_q8_0`, ggml-quants.c `dequantize_row_q8_0`.
 */
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 34;

export const q8_0: GgmlCodec<'Q8_0'> = /* @__PURE__ */ ggmlCodec('Q8_0', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES, to += 32) {
      const d = readHalf(bytes, at);
      for (let j = 0; j < 32; j++) out[to + j] = d * ((bytes[at + 2 + j] << 24) >> 24);
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES) {
      scales[block] = readWord(bytes, at);
      codes.set(bytes.subarray(at + 2, at + BYTES), block * 32);
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES) {
      writeWord(bytes, at, scales[block]);
      bytes.set(codes.subarray(block * 32, block * 32 + 32), at + 2);
    }
  },
});

/**
 * Q8_0: f16 scale, 32 signed bytes; `d * q`. Source: ggml-common.h `block_q8_0`, ggml-quants.c `dequantize_row_q8_0`.
 */
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 34;

export const q8_0: GgmlCodec<'Q8_0'> = /* @__PURE__ */ ggmlCodec('Q8_0', {
  decode(bytes, blocks, out) {
    const codes = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at);
      // Four at once are faster.
      for (let from = at + 2; from < at + BYTES; from += 4, to += 4) {
        out[to] = d * codes[from];
        out[to + 1] = d * codes[from + 1];
        out[to + 2] = d * codes[from + 2];
        out[to + 3] = d * codes[from + 3];
      }
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

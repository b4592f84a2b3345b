/**
 * Q6_K: 256 codes of 6 bits in 16 groups of 16, each with a signed 8-bit scale; `d * sc * (q - 32)`.
 *
 * 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 scales, f16 d. Each half of 128 elements has 64 bytes of
 * nibbles and 32 of pairs. Within a half, elements l, l + 32, l + 64, l + 96 (l < 32) take the low nibbles of bytes l and
 * l + 32, then their high nibbles, and the four pairs of high byte l from the lowest up.
 * Source: ggml-common.h `block_q6_K`, ggml-quants.c `dequantize_row_q6_K`.
 */
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 210;
const HIGH = 128;
const SCALES = 192;
const SCALE = 208;

export const q6_K: GgmlCodec<'Q6_K'> = /* @__PURE__ */ ggmlCodec('Q6_K', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at + SCALE);
      for (let half = 0; half < 2; half++, to += 128) {
        for (let sixteen = 0; sixteen < 2; sixteen++) {
          const scales = at + SCALES + half * 8 + sixteen;
          const scale0 = Math.fround(d * ((bytes[scales] << 24) >> 24));
          const scale1 = Math.fround(d * ((bytes[scales + 2] << 24) >> 24));
          const scale2 = Math.fround(d * ((bytes[scales + 4] << 24) >> 24));
          const scale3 = Math.fround(d * ((bytes[scales + 6] << 24) >> 24));
          const low = at + half * 64 + sixteen * 16;
          const high = at + HIGH + half * 32 + sixteen * 16;
          const first = to + sixteen * 16;
          for (let l = 0; l < 16; l++) {
            const a = bytes[low + l];
            const b = bytes[low + 32 + l];
            const pairs = bytes[high + l];
            out[first + l] = scale0 * (((a & 15) | ((pairs & 3) << 4)) - 32);
            out[first + 32 + l] = scale1 * (((b & 15) | ((pairs & 12) << 2)) - 32);
            out[first + 64 + l] = scale2 * (((a >>> 4) | (pairs & 48)) - 32);
            out[first + 96 + l] = scale3 * (((b >>> 4) | ((pairs & 192) >>> 2)) - 32);
          }
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, scaleCodes }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      scales[block] = readWord(bytes, at + SCALE);
      scaleCodes.set(bytes.subarray(at + SCALES, at + SCALES + 16), block * 16);
      for (let half = 0; half < 2; half++, to += 128) {
        const low = at + half * 64;
        const high = at + HIGH + half * 32;
        for (let l = 0; l < 32; l++) {
          const a = bytes[low + l];
          const b = bytes[low + 32 + l];
          const pairs = bytes[high + l];
          codes[to + l] = ((a & 15) | ((pairs & 3) << 4)) - 32;
          codes[to + 32 + l] = ((b & 15) | ((pairs & 12) << 2)) - 32;
          codes[to + 64 + l] = ((a >>> 4) | (pairs & 48)) - 32;
          codes[to + 96 + l] = ((b >>> 4) | ((pairs & 192) >>> 2)) - 32;
        }
      }
    }
  },

  pack({ codes, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES) {
      writeWord(bytes, at + SCALE, scales[block]);
      bytes.set(scaleCodes.subarray(block * 16, block * 16 + 16), at + SCALES);
      for (let half = 0; half < 2; half++, from += 128) {
        const low = at + half * 64;
        const high = at + HIGH + half * 32;
        for (let l = 0; l < 32; l++) {
          const c0 = codes[from + l] + 32;
          const c1 = codes[from + 32 + l] + 32;
          const c2 = codes[from + 64 + l] + 32;
          const c3 = codes[from + 96 + l] + 32;
          bytes[low + l] = (c0 & 15) | ((c2 & 15) << 4);
          bytes[low + 32 + l] = (c1 & 15) | ((c3 & 15) << 4);
          bytes[high + l] = (c0 >>> 4) | ((c1 >>> 4) << 2) | ((c2 >>> 4) << 4) | ((c3 >>> 4) << 6);
        }
      }
    }
  },
});

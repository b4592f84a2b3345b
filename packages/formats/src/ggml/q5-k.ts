/**
 * Q5_K: 256 codes of 5 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit min; `d * sc * q - dmin * m`.
 *
 * f16 d, f16 dmin, 12 bytes of scales and mins, 32 bytes of high bits (bit g of byte l is the fifth bit of element l of
 * group g), 128 bytes of low nibbles as in Q4_K.
 * Source: ggml-common.h `block_q5_K`, ggml-quants.c `dequantize_row_q5_K`.
 */
import { readHalf, readWord, SIGN_BIT, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { readMin, readScale, writePair } from './internal/six-bit-pairs.js';

const BYTES = 176;
const PAIRS = 4;
const HIGH = 16;
const LOW = 48;

export const q5_K: GgmlCodec<'Q5_K'> = /* @__PURE__ */ ggmlCodec('Q5_K', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at);
      const dmin = readHalf(bytes, at + 2);
      for (let group = 0, from = at + LOW; group < 8; group += 2, from += 32, to += 64) {
        const lowScale = Math.fround(d * readScale(bytes, at + PAIRS, group));
        const lowMin = Math.fround(dmin * readMin(bytes, at + PAIRS, group));
        const highScale = Math.fround(d * readScale(bytes, at + PAIRS, group + 1));
        const highMin = Math.fround(dmin * readMin(bytes, at + PAIRS, group + 1));
        // Two at once are faster.
        for (let l = 0; l < 32; l += 2) {
          const a = bytes[from + l];
          const b = bytes[from + l + 1];
          const fifthA = bytes[at + HIGH + l] >>> group;
          const fifthB = bytes[at + HIGH + l + 1] >>> group;
          const first = to + l;
          out[first] = Math.fround(lowScale * ((a & 15) | ((fifthA << 4) & 16))) - lowMin;
          out[first + 1] = Math.fround(lowScale * ((b & 15) | ((fifthB << 4) & 16))) - lowMin;
          out[first + 32] = Math.fround(highScale * ((a >>> 4) | ((fifthA << 3) & 16))) - highMin;
          out[first + 33] = Math.fround(highScale * ((b >>> 4) | ((fifthB << 3) & 16))) - highMin;
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, offsets, scaleCodes, offsetCodes }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      scales[block] = readWord(bytes, at);
      offsets[block] = readWord(bytes, at + 2) ^ SIGN_BIT;
      for (let group = 0; group < 8; group++) {
        scaleCodes[block * 8 + group] = readScale(bytes, at + PAIRS, group);
        offsetCodes[block * 8 + group] = readMin(bytes, at + PAIRS, group);
      }
      for (let group = 0, from = at + LOW; group < 8; group += 2, from += 32, to += 64) {
        for (let l = 0; l < 32; l++) {
          const byte = bytes[from + l];
          const fifth = bytes[at + HIGH + l] >>> group;
          codes[to + l] = (byte & 15) | ((fifth & 1) << 4);
          codes[to + 32 + l] = (byte >>> 4) | ((fifth & 2) << 3);
        }
      }
    }
  },

  pack({ codes, scales, offsets, scaleCodes, offsetCodes }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES) {
      writeWord(bytes, at, scales[block]);
      writeWord(bytes, at + 2, offsets[block] ^ SIGN_BIT);
      for (let group = 0; group < 8; group++) {
        writePair(bytes, at + PAIRS, group, scaleCodes[block * 8 + group], offsetCodes[block * 8 + group]);
      }
      for (let group = 0, to = at + LOW; group < 8; group += 2, to += 32, from += 64) {
        for (let l = 0; l < 32; l++) {
          const first = codes[from + l];
          const second = codes[from + 32 + l];
          bytes[to + l] = (first & 15) | ((second & 15) << 4);
          bytes[at + HIGH + l] |= ((first >>> 4) | ((second >>> 4) << 1)) << group;
        }
      }
    }
  },
});

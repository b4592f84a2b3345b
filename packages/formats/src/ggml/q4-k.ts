/**
 * Q4_K: 256 codes of 4 bits in 8 groups of 32, each with a 6-bit scale and a 6-bit min; `d * sc * q - dmin * m`.
 *
 * f16 d, f16 dmin, 12 bytes of scales and mins, 128 bytes of codes: each 32 bytes hold one group in their low nibbles
 * and the next group in their high nibbles.
 * Source: ggml-common.h `block_q4_K`, ggml-quants.c `dequantize_row_q4_K`.
 */
import { readHalf, readWord, SIGN_BIT, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { affineNibbles, packNibbles, unpackNibbles } from './internal/nibble-halves.js';
import { readMin, readScale, writePair } from './internal/six-bit-pairs.js';

const BYTES = 144;
const PAIRS = 4;
const CODES = 16;

export const q4_K: GgmlCodec<'Q4_K'> = /* @__PURE__ */ ggmlCodec('Q4_K', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at);
      const dmin = readHalf(bytes, at + 2);
      for (let group = 0, from = at + CODES; group < 8; group += 2, from += 32, to += 64) {
        const lowScale = Math.fround(d * readScale(bytes, at + PAIRS, group));
        const lowMin = Math.fround(dmin * readMin(bytes, at + PAIRS, group));
        const highScale = Math.fround(d * readScale(bytes, at + PAIRS, group + 1));
        const highMin = Math.fround(dmin * readMin(bytes, at + PAIRS, group + 1));
        affineNibbles(bytes, from, 32, lowScale, lowMin, highScale, highMin, out, to);
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
      for (let pair = 0, from = at + CODES; pair < 4; pair++, from += 32, to += 64) {
        unpackNibbles(bytes, from, codes, to, 32);
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
      for (let pair = 0, to = at + CODES; pair < 4; pair++, to += 32, from += 64) {
        packNibbles(codes, from, bytes, to, 32);
      }
    }
  },
});

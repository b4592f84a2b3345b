/**
 * Q2_K: 256 codes of 2 bits in 16 groups of 16, each with a 4-bit scale and a 4-bit min; `d * sc * q - dmin * m`.
 *
 * 16 bytes (low nibble scale, high nibble min), 64 bytes of codes, f16 d, f16 dmin. Each half of 128 elements has 32
 * bytes of codes; the bits at shift 2k are its k-th run of 32 elements.
 * Source: ggml-common.h `block_q2_K`, ggml-quants.c `dequantize_row_q2_K`.
 */
import { readHalf, readWord, SIGN_BIT, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 84;
const CODES = 16;
const SCALE = 80;

export const q2_K: GgmlCodec<'Q2_K'> = /* @__PURE__ */ ggmlCodec('Q2_K', {
  decode(bytes, blocks, out) {
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at + SCALE);
      const dmin = readHalf(bytes, at + SCALE + 2);
      for (let half = 0; half < 2; half++, to += 128) {
        // Four groups share 16 bytes, so that each byte is read once.
        for (let first = 0; first < 2; first++) {
          for (let run = 0; run < 4; run++) {
            const packed = bytes[at + half * 8 + run * 2 + first];
            const scale = Math.fround(d * (packed & 15));
            const min = Math.fround(dmin * (packed >>> 4));
            for (let code = 0; code < 4; code++) values[run * 4 + code] = Math.fround(scale * code) - min;
          }
          const from = at + CODES + half * 32 + first * 16;
          const start = to + first * 16;
          for (let l = 0; l < 16; l++) {
            const byte = bytes[from + l];
            out[start + l] = values[byte & 3];
            out[start + 32 + l] = values[4 + ((byte >>> 2) & 3)];
            out[start + 64 + l] = values[8 + ((byte >>> 4) & 3)];
            out[start + 96 + l] = values[12 + (byte >>> 6)];
          }
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, offsets, scaleCodes, offsetCodes }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      scales[block] = readWord(bytes, at + SCALE);
      offsets[block] = readWord(bytes, at + SCALE + 2) ^ SIGN_BIT;
      for (let group = 0; group < 16; group++, to += 16) {
        scaleCodes[block * 16 + group] = bytes[at + group] & 15;
        offsetCodes[block * 16 + group] = bytes[at + group] >>> 4;
        const from = at + CODES + codeByte(group);
        const shift = group & 6;
        for (let l = 0; l < 16; l++) codes[to + l] = (bytes[from + l] >>> shift) & 3;
      }
    }
  },

  pack({ codes, scales, offsets, scaleCodes, offsetCodes }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES) {
      writeWord(bytes, at + SCALE, scales[block]);
      writeWord(bytes, at + SCALE + 2, offsets[block] ^ SIGN_BIT);
      for (let group = 0; group < 16; group++, from += 16) {
        bytes[at + group] = scaleCodes[block * 16 + group] | (offsetCodes[block * 16 + group] << 4);
        const to = at + CODES + codeByte(group);
        const shift = group & 6;
        for (let l = 0; l < 16; l++) bytes[to + l] |= codes[from + l] << shift;
      }
    }
  },
});

/** Where the codes of a group of 16 begin: groups 0, 2, 4, 6 share bytes 0 to 15, groups 1, 3, 5, 7 bytes 16 to 31. */
function codeByte(group: number): number {
  return ((group >>> 3) << 5) + ((group & 1) << 4);
}

/**
 * Q3_K: 256 codes of 3 bits in 16 groups of 16, each with a 6-bit scale; `d * (sc - 32) * (q - 4)`.
 *
 * 32 bytes of high bits, 64 bytes of low bit pairs, 12 bytes of scales, f16 d. The low pairs lie as in Q2_K; bit g of
 * high byte l belongs to element l of the g-th run of 32.
 * Source: ggml-common.h `block_q3_K`, ggml-quants.c `dequantize_row_q3_K`.
 */
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES = 110;
const PAIRS = 32;
const SCALES = 96;
const SCALE = 108;

export const q3_K: GgmlCodec<'Q3_K'> = /* @__PURE__ */ ggmlCodec('Q3_K', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      const d = readHalf(bytes, at + SCALE);
      for (let half = 0; half < 2; half++, to += 128) {
        // Four groups share 16 bytes, so that each byte is read once.
        for (let first = 0; first < 2; first++) {
          const group = half * 8 + first;
          const scale0 = Math.fround(d * (readScale(bytes, at + SCALES, group) - 32));
          const scale1 = Math.fround(d * (readScale(bytes, at + SCALES, group + 2) - 32));
          const scale2 = Math.fround(d * (readScale(bytes, at + SCALES, group + 4) - 32));
          const scale3 = Math.fround(d * (readScale(bytes, at + SCALES, group + 6) - 32));
          const low = at + PAIRS + half * 32 + first * 16;
          const high = at + first * 16;
          const start = to + first * 16;
          for (let l = 0; l < 16; l++) {
            const pairs = bytes[low + l];
            const bits = bytes[high + l] >>> (half * 4);
            out[start + l] = scale0 * (((pairs & 3) | ((bits << 2) & 4)) - 4);
            out[start + 32 + l] = scale1 * ((((pairs >>> 2) & 3) | ((bits << 1) & 4)) - 4);
            out[start + 64 + l] = scale2 * ((((pairs >>> 4) & 3) | (bits & 4)) - 4);
            out[start + 96 + l] = scale3 * (((pairs >>> 6) | ((bits >>> 1) & 4)) - 4);
          }
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, scaleCodes }) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES) {
      scales[block] = readWord(bytes, at + SCALE);
      for (let group = 0; group < 16; group++, to += 16) {
        scaleCodes[block * 16 + group] = readScale(bytes, at + SCALES, group) - 32;
        const half = (group & 1) << 4;
        const from = at + PAIRS + ((group >>> 3) << 5) + half;
        const shift = group & 6;
        const run = group >>> 1;
        for (let l = 0; l < 16; l++) {
          const high = (bytes[at + half + l] >>> run) & 1;
          codes[to + l] = (((bytes[from + l] >>> shift) & 3) | (high << 2)) - 4;
        }
      }
    }
  },

  pack({ codes, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0, from = 0; block < blocks; block++, at += BYTES) {
      writeWord(bytes, at + SCALE, scales[block]);
      for (let group = 0; group < 16; group++, from += 16) {
        writeScale(bytes, at + SCALES, group, scaleCodes[block * 16 + group] + 32);
        const half = (group & 1) << 4;
        const to = at + PAIRS + ((group >>> 3) << 5) + half;
        const shift = group & 6;
        const run = group >>> 1;
        for (let l = 0; l < 16; l++) {
          const code = codes[from + l] + 4;
          bytes[to + l] |= (code & 3) << shift;
          bytes[at + half + l] |= (code >>> 2) << run;
        }
      }
    }
  },
});

/** Scale j (0 to 63): four low bits in a nibble of bytes 0 to 7, two high bits in bytes 8 to 11. */
function readScale(bytes: Uint8Array, at: number, j: number): number {
  const low = j < 8 ? bytes[at + j] & 15 : bytes[at + j - 8] >>> 4;
  const high = (bytes[at + 8 + (j & 3)] >>> (2 * (j >>> 2))) & 3;
  return low | (high << 4);
}

function writeScale(bytes: Uint8Array, at: number, j: number, scale: number): void {
  bytes[at + (j & 7)] |= (scale & 15) << (j < 8 ? 0 : 4);
  bytes[at + 8 + (j & 3)] |= (scale >>> 4) << (2 * (j >>> 2));
}

/**
 * Q5_0 and Q5_1: 32 codes of 5 bits. The low four bits lie as in Q4_0; bit j of a 32-bit word is the fifth of element j.
 *
 * Q5_0: f16 scale d, u32 high bits, 16 bytes; `d * (q - 16)`. Q5_1: f16 d, f16 offset m, u32, 16 bytes; `d * q + m`.
 * Source: ggml-common.h `block_q5_0`, `block_q5_1`; ggml-quants.c `dequantize_row_q5_0`, `dequantize_row_q5_1`.
 */
import { type BlockParts, readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';

const BYTES_0 = 22;
const BYTES_1 = 24;

export const q5_0: GgmlCodec<'Q5_0'> = /* @__PURE__ */ ggmlCodec('Q5_0', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_0, to += 32) {
      const d = readHalf(bytes, at);
      const low = readWord(bytes, at + 2) << 4;
      const high = readWord(bytes, at + 4) << 4;
      // Two at once are faster.
      for (let j = 0; j < 16; j += 2) {
        const a = bytes[at + 6 + j];
        const b = bytes[at + 7 + j];
        const first = to + j;
        out[first] = d * (((a & 15) | ((low >>> j) & 16)) - 16);
        out[first + 1] = d * (((b & 15) | ((low >>> (j + 1)) & 16)) - 16);
        out[first + 16] = d * (((a >>> 4) | ((high >>> j) & 16)) - 16);
        out[first + 17] = d * (((b >>> 4) | ((high >>> (j + 1)) & 16)) - 16);
      }
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_0) {
      scales[block] = readWord(bytes, at);
      unpackFiveBits(bytes, at + 2, codes, block * 32, 16);
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_0) {
      writeWord(bytes, at, scales[block]);
      packFiveBits(codes, block * 32, 16, bytes, at + 2);
    }
  },
});

export const q5_1: GgmlCodec<'Q5_1'> = /* @__PURE__ */ ggmlCodec('Q5_1', {
  decode(bytes, blocks, out) {
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_1, to += 32) {
      const d = readHalf(bytes, at);
      const m = readHalf(bytes, at + 2);
      const low = readWord(bytes, at + 4) << 4;
      const high = readWord(bytes, at + 6) << 4;
      for (let j = 0; j < 16; j += 2) {
        const a = bytes[at + 8 + j];
        const b = bytes[at + 9 + j];
        const first = to + j;
        out[first] = Math.fround(d * ((a & 15) | ((low >>> j) & 16))) + m;
        out[first + 1] = Math.fround(d * ((b & 15) | ((low >>> (j + 1)) & 16))) + m;
        out[first + 16] = Math.fround(d * ((a >>> 4) | ((high >>> j) & 16))) + m;
        out[first + 17] = Math.fround(d * ((b >>> 4) | ((high >>> (j + 1)) & 16))) + m;
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, offsets }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_1) {
      scales[block] = readWord(bytes, at);
      offsets[block] = readWord(bytes, at + 2);
      unpackFiveBits(bytes, at + 4, codes, block * 32, 0);
    }
  },

  pack({ codes, scales, offsets }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_1) {
      writeWord(bytes, at, scales[block]);
      writeWord(bytes, at + 2, offsets[block]);
      packFiveBits(codes, block * 32, 0, bytes, at + 4);
    }
  },
});

/** Twenty bytes (high bits, then nibbles) to 32 codes, from which `bias` is taken. */
function unpackFiveBits(bytes: Uint8Array, at: number, codes: BlockParts['codes'], to: number, bias: number): void {
  const low = readWord(bytes, at);
  const high = readWord(bytes, at + 2);
  for (let j = 0; j < 16; j++) {
    const byte = bytes[at + 4 + j];
    codes[to + j] = ((byte & 15) | (((low >>> j) & 1) << 4)) - bias;
    codes[to + 16 + j] = ((byte >>> 4) | (((high >>> j) & 1) << 4)) - bias;
  }
}

function packFiveBits(codes: BlockParts['codes'], from: number, bias: number, bytes: Uint8Array, at: number): void {
  let low = 0;
  let high = 0;
  for (let j = 0; j < 16; j++) {
    const first = codes[from + j] + bias;
    const second = codes[from + 16 + j] + bias;
    low |= (first >>> 4) << j;
    high |= (second >>> 4) << j;
    bytes[at + 4 + j] = (first & 15) | ((second & 15) << 4);
  }
  writeWord(bytes, at, low);
  writeWord(bytes, at + 2, high);
}

/**
 * IQ1_S and IQ1_M: 11-bit indices of vectors of 8 over -1, 0, 1, to which 1/8 is added or, where the highest bit of the code
 * is set, from which it is taken; 3-bit scales s; `d * (1 + 2 s) * (vector +- 1/8)`.
 *
 * IQ1_S: f16 d, 32 low bytes of indices, for each 32 elements a word: four times three high bits, s, and in the highest bit
 * the sign of the eighths, which the whole group shares.
 * IQ1_M: 32 low bytes, 16 bytes of two nibbles (three high bits and the sign of the eighths), four words with four scales of
 * 16 elements each, whose upper four bits together are the f16 d.
 * Source: ggml-common.h `block_iq1_s`, `block_iq1_m`; ggml-quants.c `dequantize_row_iq1_s`, `dequantize_row_iq1_m`.
 */
import { HalftoneError, type Tensor } from '@halftone/tensor';
import { ggmlCodebook, ggmlScaleCodebook } from '@halftone/tensor/codebooks';
import { type BlockParts, halfToNumber, readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { lookUpWord, nibbleLattice, once, signedValues } from './internal/lattice-blocks.js';

const BYTES_S = 50;
const WORDS_S = 34;
const BYTES_M = 56;
const HIGH_M = 32;
const SCALES_M = 48;
/** The bit of a code that chooses the vectors less 1/8. */
const MINUS = 2048;

/** Of the codebook, in which the eighths are added already. It is the same for both types. */
const lattice = /* @__PURE__ */ once(() => nibbleLattice((ggmlCodebook('IQ1_S') as Tensor<Float32Array>).data, 8));

export const iq1_s: GgmlCodec<'IQ1_S'> = /* @__PURE__ */ ggmlCodec('IQ1_S', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = lattice();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_S) {
      const d = readHalf(bytes, at);
      for (let group = 0; group < 8; group++) {
        const word = readWord(bytes, at + WORDS_S + 2 * group);
        signedValues(d * (1 + 2 * ((word >>> 12) & 7)), levels, values);
        for (let l = 0; l < 4; l++, to += 8) {
          lookUpWord(words[codeOf(bytes[at + 2 + group * 4 + l], word, l)], values, out, to);
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      scales[block] = readWord(bytes, at);
      for (let group = 0; group < 8; group++) {
        const word = readWord(bytes, at + WORDS_S + 2 * group);
        scaleCodes[block * 8 + group] = (word >>> 12) & 7;
        for (let l = 0, vector = group * 4; l < 4; l++, vector++) {
          codes[block * 32 + vector] = codeOf(bytes[at + 2 + vector], word, l);
        }
      }
    }
  },

  pack({ codes, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      writeWord(bytes, at, scales[block]);
      for (let group = 0; group < 8; group++) {
        const first = block * 32 + group * 4;
        let word = (scaleCodes[block * 8 + group] << 12) | (sharedSign(codes, first) << 4);
        for (let l = 0; l < 4; l++) {
          bytes[at + 2 + group * 4 + l] = codes[first + l] & 255;
          word |= ((codes[first + l] >>> 8) & 7) << (3 * l);
        }
        writeWord(bytes, at + WORDS_S + 2 * group, word);
      }
    }
  },
});

export const iq1_m: GgmlCodec<'IQ1_M'> = /* @__PURE__ */ ggmlCodec('IQ1_M', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = lattice();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_M) {
      const d = halfToNumber(readSuperScale(bytes, at + SCALES_M));
      for (let vector = 0; vector < 32; vector += 2, to += 16) {
        signedValues(d * (1 + 2 * readScale(bytes, at + SCALES_M, vector >>> 1)), levels, values);
        const high = bytes[at + HIGH_M + (vector >>> 1)];
        lookUpWord(words[bytes[at + vector] | ((high & 15) << 8)], values, out, to);
        lookUpWord(words[bytes[at + vector + 1] | ((high >>> 4) << 8)], values, out, to + 8);
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_M) {
      scales[block] = readSuperScale(bytes, at + SCALES_M);
      for (let group = 0; group < 16; group++) {
        scaleCodes[block * 16 + group] = readScale(bytes, at + SCALES_M, group);
      }
      for (let vector = 0; vector < 32; vector++) {
        const high = (bytes[at + HIGH_M + (vector >>> 1)] >>> (4 * (vector & 1))) & 15;
        codes[block * 32 + vector] = bytes[at + vector] | (high << 8);
      }
    }
  },

  pack({ codes, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_M) {
      for (let word = 0; word < 4; word++) {
        let bits = ((scales[block] >>> (4 * word)) & 15) << 12;
        for (let i = 0; i < 4; i++) bits |= scaleCodes[block * 16 + word * 4 + i] << (3 * i);
        writeWord(bytes, at + SCALES_M + 2 * word, bits);
      }
      for (let vector = 0; vector < 32; vector++) {
        const code = codes[block * 32 + vector];
        bytes[at + vector] = code & 255;
        bytes[at + HIGH_M + (vector >>> 1)] |= (code >>> 8) << (4 * (vector & 1));
      }
    }
  },
});

/** The code of vector l (0 to 3) of a group of IQ1_S. */
function codeOf(low: number, word: number, l: number): number {
  return low | (((word >>> (3 * l)) & 7) << 8) | ((word >>> 4) & MINUS);
}

/** `MINUS` or 0 for the four vectors of a group. Throws `RANGE` when they differ. */
function sharedSign(codes: BlockParts['codes'], first: number): number {
  const sign = codes[first] & MINUS;
  for (let l = 1; l < 4; l++) {
    if ((codes[first + l] & MINUS) !== sign) {
      throw new HalftoneError(
        'RANGE',
        `codes ${first} to ${first + 3}: a group of 32 must add 1/8 or take it in all vectors`,
        {
          where: 'ggml IQ1_S',
          details: { vector: first },
        },
      );
    }
  }
  return sign;
}

/** The f16 bits of a block of IQ1_M. */
function readSuperScale(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1] >>> 4) | (bytes[at + 3] & 0xf0) | ((bytes[at + 5] & 0xf0) << 4) | ((bytes[at + 7] & 0xf0) << 8);
}

/** The scale of a group of 16 in IQ1_M. */
function readScale(bytes: Uint8Array, at: number, group: number): number {
  return (readWord(bytes, at + 2 * (group >>> 2)) >>> (3 * (group & 3))) & 7;
}

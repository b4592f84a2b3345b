/**
 * IQ3_XXS and IQ3_S: indices of vectors of 4 magnitudes, with signs and a 4-bit scale s for each 32 elements.
 *
 * IQ3_XXS: `d * (1/2 + s) / 2 * magnitude`. f16 d, 64 8-bit indices, 8 words of four 7-bit sign indices and s, as in IQ2_XXS.
 * IQ3_S: `d * (1 + 2 s) * magnitude`. f16 d, 64 low bytes of 9-bit indices, 8 bytes of their high bits, 32 sign bytes, 4 bytes
 * of two scales, low nibble first.
 * Source: ggml-common.h `block_iq3_xxs`, `block_iq3_s`; ggml-quants.c `dequantize_row_iq3_xxs`, `dequantize_row_iq3_s`.
 */
import { ggmlCodebook, ggmlScaleCodebook, latticeVectors } from '@halftone/tensor/codebooks';
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import {
  evenSignNibbles,
  lookUpWord,
  nibbleLattice,
  once,
  packSigns,
  packSignWord,
  readWord32,
  signedValues,
  signNibbles,
  unpackSigns,
  unpackSignWord,
  writeWord32,
} from './internal/lattice-blocks.js';

const BYTES_XXS = 98;
const WORDS_XXS = 66;
const BYTES_S = 110;
const HIGH_S = 66;
const SIGNS_S = 74;
const SCALES_S = 106;

const latticeXxs = /* @__PURE__ */ once(() => nibbleLattice(latticeVectors('iq3_xxs'), 4));
const latticeS = /* @__PURE__ */ once(() => nibbleLattice(latticeVectors('iq3_s'), 4));

export const iq3_xxs: GgmlCodec<'IQ3_XXS'> = /* @__PURE__ */ ggmlCodec('IQ3_XXS', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = latticeXxs();
    const signs = evenSignNibbles();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_XXS) {
      const d = readHalf(bytes, at);
      for (let group = 0, from = at + 2; group < 8; group++, from += 8) {
        const word = readWord32(bytes, at + WORDS_XXS + 4 * group);
        signedValues(d * (0.5 + (word >>> 28)) * 0.5, levels, values);
        for (let l = 0; l < 4; l++, to += 8) {
          const vectors = words[bytes[from + 2 * l]] | (words[bytes[from + 2 * l + 1]] << 16);
          lookUpWord(vectors | signs[(word >>> (7 * l)) & 127], values, out, to);
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, signs, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XXS) {
      scales[block] = readWord(bytes, at);
      for (let vector = 0; vector < 64; vector++) codes[block * 64 + vector] = bytes[at + 2 + vector];
      for (let group = 0; group < 8; group++) {
        const word = readWord32(bytes, at + WORDS_XXS + 4 * group);
        scaleCodes[block * 8 + group] = unpackSignWord(word, signs, (block * 8 + group) * 32);
      }
    }
  },

  pack(parts, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XXS) {
      writeWord(bytes, at, parts.scales[block]);
      for (let vector = 0; vector < 64; vector++) bytes[at + 2 + vector] = parts.codes[block * 64 + vector];
      for (let i = 0; i < 8; i++) {
        const group = block * 8 + i;
        const word = packSignWord(parts, group * 32, parts.scaleCodes[group], 'IQ3_XXS');
        writeWord32(bytes, at + WORDS_XXS + 4 * i, word);
      }
    }
  },
});

export const iq3_s: GgmlCodec<'IQ3_S'> = /* @__PURE__ */ ggmlCodec('IQ3_S', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = latticeS();
    const signs = signNibbles();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_S) {
      const d = readHalf(bytes, at);
      for (let group = 0; group < 8; group++) {
        signedValues(d * (1 + 2 * readScale(bytes, at, group)), levels, values);
        const high = bytes[at + HIGH_S + group];
        for (let l = 0; l < 4; l++, to += 8) {
          const from = at + 2 + group * 8 + 2 * l;
          const first = bytes[from] | ((high << (8 - 2 * l)) & 256);
          const second = bytes[from + 1] | ((high << (7 - 2 * l)) & 256);
          const vectors = words[first] | (words[second] << 16);
          lookUpWord(vectors | signs[bytes[at + SIGNS_S + group * 4 + l]], values, out, to);
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, signs, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      scales[block] = readWord(bytes, at);
      for (let group = 0; group < 8; group++) scaleCodes[block * 8 + group] = readScale(bytes, at, group);
      for (let vector = 0; vector < 64; vector++) {
        const high = (bytes[at + HIGH_S + (vector >>> 3)] >>> (vector & 7)) & 1;
        codes[block * 64 + vector] = bytes[at + 2 + vector] | (high << 8);
      }
      for (let l = 0; l < 32; l++) unpackSigns(bytes[at + SIGNS_S + l], signs, (block * 32 + l) * 8);
    }
  },

  pack({ codes, signs, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      writeWord(bytes, at, scales[block]);
      for (let group = 0; group < 8; group++) {
        bytes[at + SCALES_S + (group >>> 1)] |= scaleCodes[block * 8 + group] << (4 * (group & 1));
      }
      for (let vector = 0; vector < 64; vector++) {
        const index = codes[block * 64 + vector];
        bytes[at + 2 + vector] = index & 255;
        bytes[at + HIGH_S + (vector >>> 3)] |= (index >>> 8) << (vector & 7);
      }
      for (let l = 0; l < 32; l++) bytes[at + SIGNS_S + l] = packSigns(signs, (block * 32 + l) * 8);
    }
  },
});

/** The scale of a group of IQ3_S. */
function readScale(bytes: Uint8Array, at: number, group: number): number {
  return (bytes[at + SCALES_S + (group >>> 1)] >>> (4 * (group & 1))) & 15;
}

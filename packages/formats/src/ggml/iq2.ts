/**
 * IQ2_XXS, IQ2_XS, IQ2_S: indices of vectors of 8 magnitudes, with signs and 4-bit scales s; `d * (1/2 + s) / 4 * magnitude`.
 *
 * IQ2_XXS: f16 d; for each 32 elements four 8-bit indices and a word of four 7-bit sign indices and s.
 * IQ2_XS: f16 d, 32 words of a 9-bit index and a 7-bit sign index, 8 bytes of two scales of 16 elements, low nibble first.
 * IQ2_S: f16 d, 32 low bytes of 10-bit indices, 32 sign bytes, 8 bytes of four pairs of high bits, scales as in IQ2_XS.
 * Source: ggml-common.h `block_iq2_xxs`, `block_iq2_xs`, `block_iq2_s`; ggml-quants.c `dequantize_row_iq2_xxs` and so on.
 */
import { ggmlCodebook, ggmlScaleCodebook, latticeVectors } from '@halftone/tensor/codebooks';
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import {
  evenSignNibbles,
  evenSigns,
  lookUpWord,
  nibbleLattice,
  once,
  packEvenSigns,
  packSigns,
  packSignWord,
  readWord32,
  signedValues,
  signNibbles,
  unpackSigns,
  unpackSignWord,
  writeWord32,
} from './internal/lattice-blocks.js';

const BYTES_XXS = 66;
const BYTES_XS = 74;
const SCALES_XS = 66;
const BYTES_S = 82;
const SIGNS_S = 34;
const HIGH_S = 66;
const SCALES_S = 74;

const latticeXxs = /* @__PURE__ */ once(() => nibbleLattice(latticeVectors('iq2_xxs'), 8));
const latticeXs = /* @__PURE__ */ once(() => nibbleLattice(latticeVectors('iq2_xs'), 8));
const latticeS = /* @__PURE__ */ once(() => nibbleLattice(latticeVectors('iq2_s'), 8));

export const iq2_xxs: GgmlCodec<'IQ2_XXS'> = /* @__PURE__ */ ggmlCodec('IQ2_XXS', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = latticeXxs();
    const signs = evenSignNibbles();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_XXS) {
      const d = readHalf(bytes, at);
      for (let group = 0, from = at + 2; group < 8; group++, from += 8) {
        const word = readWord32(bytes, from + 4);
        signedValues(d * (0.5 + (word >>> 28)) * 0.25, levels, values);
        for (let l = 0; l < 4; l++, to += 8) {
          lookUpWord(words[bytes[from + l]] | signs[(word >>> (7 * l)) & 127], values, out, to);
        }
      }
    }
  },

  unpack(bytes, blocks, { codes, signs, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XXS) {
      scales[block] = readWord(bytes, at);
      for (let group = block * 8, from = at + 2; group < block * 8 + 8; group++, from += 8) {
        for (let l = 0; l < 4; l++) codes[group * 4 + l] = bytes[from + l];
        scaleCodes[group] = unpackSignWord(readWord32(bytes, from + 4), signs, group * 32);
      }
    }
  },

  pack(parts, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XXS) {
      writeWord(bytes, at, parts.scales[block]);
      for (let group = block * 8, to = at + 2; group < block * 8 + 8; group++, to += 8) {
        for (let l = 0; l < 4; l++) bytes[to + l] = parts.codes[group * 4 + l];
        writeWord32(bytes, to + 4, packSignWord(parts, group * 32, parts.scaleCodes[group], 'IQ2_XXS'));
      }
    }
  },
});

export const iq2_xs: GgmlCodec<'IQ2_XS'> = /* @__PURE__ */ ggmlCodec('IQ2_XS', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = latticeXs();
    const signs = evenSignNibbles();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_XS) {
      const d = readHalf(bytes, at);
      for (let group = 0, from = at + 2; group < 16; group++, from += 4, to += 16) {
        signedValues(d * (0.5 + readScale(bytes, at + SCALES_XS, group)) * 0.25, levels, values);
        const first = readWord(bytes, from);
        const second = readWord(bytes, from + 2);
        lookUpWord(words[first & 511] | signs[first >>> 9], values, out, to);
        lookUpWord(words[second & 511] | signs[second >>> 9], values, out, to + 8);
      }
    }
  },

  unpack(bytes, blocks, { codes, signs, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XS) {
      scales[block] = readWord(bytes, at);
      for (let group = 0; group < 16; group++) scaleCodes[block * 16 + group] = readScale(bytes, at + SCALES_XS, group);
      for (let vector = 0; vector < 32; vector++) {
        const word = readWord(bytes, at + 2 + 2 * vector);
        codes[block * 32 + vector] = word & 511;
        unpackSigns(evenSigns(word >>> 9), signs, (block * 32 + vector) * 8);
      }
    }
  },

  pack({ codes, signs, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XS) {
      writeWord(bytes, at, scales[block]);
      for (let group = 0; group < 16; group++) writeScale(bytes, at + SCALES_XS, group, scaleCodes[block * 16 + group]);
      for (let vector = 0; vector < 32; vector++) {
        const signIndex = packEvenSigns(signs, (block * 32 + vector) * 8, 'IQ2_XS');
        writeWord(bytes, at + 2 + 2 * vector, codes[block * 32 + vector] | (signIndex << 9));
      }
    }
  },
});

export const iq2_s: GgmlCodec<'IQ2_S'> = /* @__PURE__ */ ggmlCodec('IQ2_S', {
  codebook: ggmlCodebook,
  scaleCodebook: ggmlScaleCodebook,

  decode(bytes, blocks, out) {
    const { levels, words } = latticeS();
    const signs = signNibbles();
    const values = new Float32Array(16);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_S) {
      const d = readHalf(bytes, at);
      for (let vector = 0; vector < 32; vector += 2, to += 16) {
        signedValues(d * (0.5 + readScale(bytes, at + SCALES_S, vector >>> 1)) * 0.25, levels, values);
        const from = at + SIGNS_S + vector;
        lookUpWord(words[readIndex(bytes, at, vector)] | signs[bytes[from]], values, out, to);
        lookUpWord(words[readIndex(bytes, at, vector + 1)] | signs[bytes[from + 1]], values, out, to + 8);
      }
    }
  },

  unpack(bytes, blocks, { codes, signs, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      scales[block] = readWord(bytes, at);
      for (let group = 0; group < 16; group++) scaleCodes[block * 16 + group] = readScale(bytes, at + SCALES_S, group);
      for (let vector = 0; vector < 32; vector++) {
        codes[block * 32 + vector] = readIndex(bytes, at, vector);
        unpackSigns(bytes[at + SIGNS_S + vector], signs, (block * 32 + vector) * 8);
      }
    }
  },

  pack({ codes, signs, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_S) {
      writeWord(bytes, at, scales[block]);
      for (let group = 0; group < 16; group++) writeScale(bytes, at + SCALES_S, group, scaleCodes[block * 16 + group]);
      for (let vector = 0; vector < 32; vector++) {
        const index = codes[block * 32 + vector];
        bytes[at + 2 + vector] = index & 255;
        bytes[at + HIGH_S + (vector >>> 2)] |= (index >>> 8) << (2 * (vector & 3));
        bytes[at + SIGNS_S + vector] = packSigns(signs, (block * 32 + vector) * 8);
      }
    }
  },
});

/** The index of a vector of IQ2_S. */
function readIndex(bytes: Uint8Array, at: number, vector: number): number {
  return bytes[at + 2 + vector] | (((bytes[at + HIGH_S + (vector >>> 2)] >>> (2 * (vector & 3))) & 3) << 8);
}

/** The scale of a group of 16. */
function readScale(bytes: Uint8Array, at: number, group: number): number {
  return (bytes[at + (group >>> 1)] >>> (4 * (group & 1))) & 15;
}

function writeScale(bytes: Uint8Array, at: number, group: number, scale: number): void {
  bytes[at + (group >>> 1)] |= scale << (4 * (group & 1));
}

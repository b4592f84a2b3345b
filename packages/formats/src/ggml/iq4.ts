/**
 * IQ4_NL and IQ4_XS: 4-bit indices of a table of 16 whole numbers, in groups of 32 laid out as in Q4_0.
 *
 * IQ4_NL: f16 scale d, 16 bytes; `d * table[q]`. IQ4_XS: 256 codes, each group with a 6-bit scale; `d * (sc - 32) * table[q]`.
 * f16 d, u16 with two high bits of each scale, 4 bytes with their low nibbles, 128 bytes of codes.
 * Source: ggml-common.h `block_iq4_nl`, `block_iq4_xs`; ggml-quants.c `dequantize_row_iq4_nl`, `dequantize_row_iq4_xs`.
 */
import { ggmlCodebook, IQ4_NL_VALUES } from '@halftone/tensor/codebooks';
import { readHalf, readWord, writeWord } from './internal/block-layout.js';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { packNibbles, scaledNibbles, unpackNibbles } from './internal/nibble-halves.js';

const BYTES_NL = 18;
const BYTES_XS = 136;
const CODES_XS = 8;

export const iq4_nl: GgmlCodec<'IQ4_NL'> = /* @__PURE__ */ ggmlCodec('IQ4_NL', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    const table = Float64Array.from(IQ4_NL_VALUES);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_NL, to += 32) {
      const d = readHalf(bytes, at);
      scaledNibbles(bytes, at + 2, 16, d, table, out, to);
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_NL) {
      scales[block] = readWord(bytes, at);
      unpackNibbles(bytes, at + 2, codes, block * 32, 16);
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_NL) {
      writeWord(bytes, at, scales[block]);
      packNibbles(codes, block * 32, bytes, at + 2, 16);
    }
  },
});

export const iq4_xs: GgmlCodec<'IQ4_XS'> = /* @__PURE__ */ ggmlCodec('IQ4_XS', {
  codebook: ggmlCodebook,

  decode(bytes, blocks, out) {
    const table = Float64Array.from(IQ4_NL_VALUES);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_XS) {
      const d = readHalf(bytes, at);
      for (let group = 0, from = at + CODES_XS; group < 8; group++, from += 16, to += 32) {
        const scale = Math.fround(d * readScale(bytes, at, group));
        scaledNibbles(bytes, from, 16, scale, table, out, to);
      }
    }
  },

  unpack(bytes, blocks, { codes, scales, scaleCodes }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XS) {
      scales[block] = readWord(bytes, at);
      for (let group = 0; group < 8; group++) {
        scaleCodes[block * 8 + group] = readScale(bytes, at, group);
        unpackNibbles(bytes, at + CODES_XS + group * 16, codes, (block * 8 + group) * 32, 16);
      }
    }
  },

  pack({ codes, scales, scaleCodes }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_XS) {
      writeWord(bytes, at, scales[block]);
      for (let group = 0; group < 8; group++) {
        const scale = scaleCodes[block * 8 + group] + 32;
        bytes[at + 2 + (group >>> 2)] |= (scale >>> 4) << (2 * (group & 3));
        bytes[at + 4 + (group >>> 1)] |= (scale & 15) << (4 * (group & 1));
        packNibbles(codes, (block * 8 + group) * 32, bytes, at + CODES_XS + group * 16, 16);
      }
    }
  },
});

/** The scale of a group, -32 to 31. */
function readScale(bytes: Uint8Array, at: number, group: number): number {
  const low = (bytes[at + 4 + (group >>> 1)] >>> (4 * (group & 1))) & 15;
  const high = (bytes[at + 2 + (group >>> 2)] >>> (2 * (group & 3))) & 3;
  return (low | (high << 4)) - 32;
}

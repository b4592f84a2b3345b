/**
 * MXFP4 and NVFP4: E2M1 floats of 4 bits, in groups of 32 and 16 whose nibbles lie as in Q4_0.
 *
 * MXFP4: an E8M0 scale, 16 bytes. Byte 255 is NaN in E8M0, but ggml reads it as 2^128.
 * NVFP4: 64 codes in 4 groups; 4 scales, 32 bytes. The scales are E4M3 whose sign ggml ignores, 0x7F reads as 0 and 0xFF as
 * 480, which E4M3 does not have. The scale of the whole tensor is a tensor of its own in GGUF files.
 * ggml reads minus zero as plus zero: decoding gives +0, while unpacked codes keep the sign.
 * Source: ggml-common.h `block_mxfp4`, `block_nvfp4`; ggml-quants.c `dequantize_row_mxfp4`, `dequantize_row_nvfp4`;
 * ggml-impl.h `ggml_e8m0_to_fp32_half`, `ggml_ue4m3_to_fp32`.
 */
import { HalftoneError } from '@halftone/tensor';
import { type GgmlCodec, ggmlCodec } from './internal/ggml-codec.js';
import { packNibbles, scaledNibbles, unpackNibbles } from './internal/nibble-halves.js';

const BYTES_MX = 17;
const BYTES_NV = 36;
const CODES_NV = 4;

export const mxfp4: GgmlCodec<'MXFP4'> = /* @__PURE__ */ ggmlCodec('MXFP4', {
  scaleType: 'f8_e8m0',

  decode(bytes, blocks, out) {
    const halves = Float64Array.from({ length: 256 }, (_, byte) => 2 ** (byte - 128));
    const table = Float64Array.from(DOUBLES);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_MX, to += 32) {
      scaledNibbles(bytes, at + 1, 16, halves[bytes[at]], table, out, to);
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_MX) {
      if (bytes[at] === 255) refuseScale('MXFP4', block, 'scale byte 255 is 2^128 to ggml and NaN to E8M0');
      scales[block] = bytes[at];
      unpackNibbles(bytes, at + 1, codes, block * 32, 16);
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_MX) {
      if (scales[block] === 255) refuseScale('MXFP4', block, 'the scale is NaN, which ggml reads as 2^128');
      bytes[at] = scales[block];
      packNibbles(codes, block * 32, bytes, at + 1, 16);
    }
  },
});

export const nvfp4: GgmlCodec<'NVFP4'> = /* @__PURE__ */ ggmlCodec('NVFP4', {
  scaleType: 'f8_e4m3',

  decode(bytes, blocks, out) {
    const halves = Float64Array.from({ length: 256 }, (_, byte) => halfScale(byte));
    const table = Float64Array.from(DOUBLES);
    for (let block = 0, at = 0, to = 0; block < blocks; block++, at += BYTES_NV) {
      for (let group = 0, from = at + CODES_NV; group < 4; group++, from += 8, to += 16) {
        scaledNibbles(bytes, from, 8, halves[bytes[at + group]], table, out, to);
      }
    }
  },

  unpack(bytes, blocks, { codes, scales }) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_NV) {
      for (let group = 0; group < 4; group++) {
        const scale = bytes[at + group];
        if (scale === 0xff) refuseScale('NVFP4', block, 'scale byte 0xFF is 480 to ggml and NaN to E4M3');
        scales[block * 4 + group] = scale === 0x7f ? 0 : scale & 0x7f;
        unpackNibbles(bytes, at + CODES_NV + group * 8, codes, block * 64 + group * 16, 8);
      }
    }
  },

  pack({ codes, scales }, blocks, bytes) {
    for (let block = 0, at = 0; block < blocks; block++, at += BYTES_NV) {
      for (let group = 0; group < 4; group++) {
        const scale = scales[block * 4 + group];
        if (scale >= 0x7f) refuseScale('NVFP4', block, 'a scale is negative or NaN; move signs into the codes');
        bytes[at + group] = scale;
        packNibbles(codes, block * 64 + group * 16, bytes, at + CODES_NV + group * 8, 8);
      }
    }
  },
});

/** Twice the E2M1 values. Their products with half the scale never round, but at the ends of the range. No minus zero. */
const DOUBLES = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const;

/** Half the scale of an unsigned E4M3 byte as ggml reads it. */
function halfScale(byte: number): number {
  const exponent = (byte >>> 3) & 15;
  const mantissa = byte & 7;
  if (byte === 0x7f) return 0;
  return exponent === 0 ? mantissa * 2 ** -10 : (mantissa + 8) * 2 ** (exponent - 11);
}

function refuseScale(type: string, block: number, reason: string): never {
  throw new HalftoneError('RANGE', `block ${block}: ${reason}`, { where: `ggml ${type}`, details: { block } });
}

/**
 * Q4_0, Q5_0 and Q8_0 as ggml's reference encoders choose them, to the byte: every step in float32, and the codes from the
 * scale before it is rounded to f16. Source: ggml-quants.c, quantize_row_{q4_0,q5_0,q8_0}_ref.
 */

import { largestMagnitudeBits, largestMagnitudes } from '../internal/largest-magnitude.js';

const BLOCK = 32;

/** `scale = m / -2^(bits-1)`, where `m` is the first value of largest magnitude in its block of 32, with its sign. */
export function chooseSignedMaxScales(values: Float32Array, bits: number, scales: Float32Array): void {
  const valueBits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const divisor = -(2 ** (bits - 1));
  for (let block = 0; block < scales.length; block++) {
    let index = block * BLOCK;
    const largest = largestMagnitudeBits(valueBits, index, BLOCK);
    while ((valueBits[index] & 0x7fffffff) !== largest) index++;
    // ggml starts from +0, so that a block of zeros has the scale -0 whatever the signs of its zeros.
    scales[block] = (largest === 0 ? 0 : values[index]) / divisor;
  }
}

/** Signed codes, halves rounded up, from unrounded scales. */
export function chooseSignedMaxCodes(
  values: Float32Array,
  bits: number,
  scales: Float32Array,
  codes: Uint8Array,
): void {
  const half = 2 ** (bits - 1);
  const shift = half + 0.5;
  const highest = 2 * half - 1;
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    const scale = scales[block];
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    for (let i = start; i < start + BLOCK; i++) {
      const code = Math.fround(Math.fround(values[i] * inverse) + shift) | 0;
      codes[i] = (code > highest ? highest : code) - half;
    }
  }
}

/** `scale = absmax / 127` of each block of 32. */
export function chooseAbsmaxScales(values: Float32Array, scales: Float32Array): void {
  largestMagnitudes(values, BLOCK, scales);
  for (let block = 0; block < scales.length; block++) scales[block] /= 127;
}

/** 2^20: the fixed point in which codes are first computed. */
const ONE = 0x100000;
/** Float32 steps and float64 steps differ by less than this many units of 2^-20 for magnitudes up to 127. */
const DOUBT = 32;

/** Codes -127 .. 127, halves rounded away from zero, from unrounded scales. */
export function chooseAbsmaxCodes(values: Float32Array, scales: Float32Array, codes: Uint8Array): void {
  const valueBits = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    const scale = scales[block];
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const factor = inverse * ONE;
    for (let i = start; i < start + BLOCK; i++) {
      const fixed = (Math.abs(values[i] * factor) + ONE / 2) | 0;
      let magnitude = fixed >> 20;
      // Rounding to float32 costs more than all the rest; it is done only where it could change the code.
      if (((fixed + DOUBT) & (ONE - 1)) < 2 * DOUBT) {
        magnitude = (Math.abs(Math.fround(values[i] * inverse)) + 0.5) | 0;
      }
      const sign = valueBits[i] >> 31;
      codes[i] = (magnitude ^ sign) - sign;
    }
  }
}

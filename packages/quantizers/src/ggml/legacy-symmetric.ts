/**
 * Q4_0, Q5_0 and Q8_0 as ggml's reference encoders choose them, to the byte: every step in float32, and the codes from the
 * scale before it is rounded to f16. Source: ggml-quants.c, quantize_row_{q4_0,q5_0,q8_0}_ref.
 */

const BLOCK = 32;

/** `scale = m / -2^(bits-1)`, where `m` is the first value of largest magnitude in its block of 32, with its sign. */
export function chooseSignedMaxScales(values: Float32Array, bits: number, scales: Float32Array): void {
  const divisor = -(2 ** (bits - 1));
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    let absmax = 0;
    let signedMax = 0;
    for (let i = start; i < start + BLOCK; i++) {
      const value = values[i];
      const magnitude = Math.abs(value);
      if (magnitude > absmax) {
        absmax = magnitude;
        signedMax = value;
      }
    }
    scales[block] = signedMax / divisor;
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
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    let absmax = 0;
    for (let i = start; i < start + BLOCK; i++) {
      const magnitude = Math.abs(values[i]);
      if (magnitude > absmax) absmax = magnitude;
    }
    scales[block] = absmax / 127;
  }
}

/** Codes -127 .. 127, halves rounded away from zero, from unrounded scales. */
export function chooseAbsmaxCodes(values: Float32Array, scales: Float32Array, codes: Uint8Array): void {
  const signs = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    const scale = scales[block];
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    for (let i = start; i < start + BLOCK; i++) {
      const magnitude = (Math.abs(Math.fround(values[i] * inverse)) + 0.5) | 0;
      const sign = signs[i] >> 31;
      codes[i] = (magnitude ^ sign) - sign;
    }
  }
}

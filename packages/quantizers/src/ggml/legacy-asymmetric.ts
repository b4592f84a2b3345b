/**
 * Q4_1 and Q5_1 as ggml's reference encoders choose them, to the byte: every step in float32, and the codes from scale and
 * minimum before they are rounded to f16. Source: ggml-quants.c, quantize_row_{q4_1,q5_1}_ref.
 */

const BLOCK = 32;

/** `scale = (max - min) / (2^bits - 1)`, `offset = min` of each block of 32. */
export function chooseMinMaxScales(
  values: Float32Array,
  bits: number,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  const levels = 2 ** bits - 1;
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    let min = values[start];
    let max = min;
    for (let i = start + 1; i < start + BLOCK; i++) {
      const value = values[i];
      if (value < min) min = value;
      if (value > max) max = value;
    }
    scales[block] = Math.fround(max - min) / levels;
    offsets[block] = min;
  }
}

/** Codes with halves rounded up, from unrounded scales and offsets. */
export function chooseMinMaxCodes(
  values: Float32Array,
  bits: number,
  scales: Float32Array,
  offsets: Float32Array,
  codes: Uint8Array,
): void {
  const highest = 2 ** bits - 1;
  for (let block = 0; block < scales.length; block++) {
    const start = block * BLOCK;
    const scale = scales[block];
    const offset = offsets[block];
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    for (let i = start; i < start + BLOCK; i++) {
      const code = Math.fround(Math.fround(Math.fround(values[i] - offset) * inverse) + 0.5) | 0;
      codes[i] = code > highest ? highest : code;
    }
  }
}

/**
 * The 12 bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit mins.
 *
 * Scales 0 to 3 are the low six bits of bytes 0 to 3, mins 0 to 3 those of bytes 4 to 7. For 4 to 7, bytes 8 to 11 hold
 * the low four bits (scale in the low nibble), and the upper two bits of bytes 0 to 7 hold the high two.
 * Source: ggml-quants.c `get_scale_min_k4`.
 */
export function readScale(bytes: Uint8Array, at: number, j: number): number {
  return j < 4 ? bytes[at + j] & 63 : (bytes[at + j + 4] & 15) | ((bytes[at + j - 4] >>> 6) << 4);
}

export function readMin(bytes: Uint8Array, at: number, j: number): number {
  return j < 4 ? bytes[at + j + 4] & 63 : (bytes[at + j + 4] >>> 4) | ((bytes[at + j] >>> 6) << 4);
}

/** Adds one scale and min to bytes that are zero where nothing was written yet. */
export function writePair(bytes: Uint8Array, at: number, j: number, scale: number, min: number): void {
  if (j < 4) {
    bytes[at + j] |= scale;
    bytes[at + j + 4] |= min;
  } else {
    bytes[at + j + 4] |= (scale & 15) | ((min & 15) << 4);
    bytes[at + j - 4] |= (scale >>> 4) << 6;
    bytes[at + j] |= (min >>> 4) << 6;
  }
}

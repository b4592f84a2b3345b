/**
 * Zeros in place of offsets: `s (q - z) + o` is `s (q - z')` with `z' = z - o / s`. Undefined unless every `z'` is a whole number
 * of `0 .. 2^bits - 1` and float32 arithmetic rounds neither form, so that values stay the same but for the sign of zeros.
 *
 * All arrays have one entry for each group; codes are unsigned.
 */
export function zerosOfOffsets(
  bits: number,
  { scales, zeros, offsets }: { scales: Float32Array; zeros: Float32Array; offsets: Float32Array },
): Float32Array | undefined {
  const limit = 2 ** bits;
  const whole = new Float32Array(zeros.length);
  for (let i = 0; i < whole.length; i++) {
    const [scale, zero, offset] = [scales[i] as number, zeros[i] as number, offsets[i] as number];
    // All values are 0: the middle is what a symmetric weight has.
    if (scale === 0 && offset === 0) {
      whole[i] = limit / 2;
      continue;
    }
    const moved = zero - offset / scale;
    const isWhole = Number.isInteger(zero) && Math.abs(zero) <= limit && Number.isInteger(moved);
    // The lowest and the highest bit of this product lie as far apart as those of any code's product can.
    const product = scale * (limit + 1);
    const isExact = Number.isFinite(product) && Math.fround(product) === product;
    if (!isWhole || moved < 0 || moved >= limit || !isExact) return undefined;
    whole[i] = moved;
  }
  return whole;
}

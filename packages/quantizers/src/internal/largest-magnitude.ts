/**
 * Bits of the largest magnitude of a run of float32 values, given as their bits. Magnitudes are ordered as their bits are, and
 * an integer maximum needs no branch that the processor would mispredict.
 */
export function largestMagnitudeBits(bits: Int32Array, start: number, size: number): number {
  let largest = 0;
  for (let i = start; i < start + size; i++) {
    const difference = (largest - (bits[i] & 0x7fffffff)) | 0;
    largest = (largest - (difference & (difference >> 31))) | 0;
  }
  return largest;
}

/** The largest magnitude of each run of `size` values. */
export function largestMagnitudes(values: Float32Array, size: number, magnitudes: Float32Array): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const results = new Int32Array(magnitudes.buffer, magnitudes.byteOffset, magnitudes.length);
  for (let run = 0; run < results.length; run++) results[run] = largestMagnitudeBits(bits, run * size, size);
}

/** The first value of largest magnitude of `x[start .. end)`, with its sign; 0 where all are 0. */
export function largestValue(x: Float64Array, start: number, end: number): number {
  let absmax = 0;
  let largest = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(x[i]);
    if (magnitude > absmax) {
      absmax = magnitude;
      largest = x[i];
    }
  }
  return largest;
}

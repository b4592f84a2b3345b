import { BLOCK } from '../internal/layout.js';
import { checkQuantization } from '../internal/operation-checks.js';

/** Rows to 8-bit codes with a scale for each run of 32 values. All arithmetic is in float32, ties round to even. */
export function quantize(
  x: Float32Array,
  rows: number,
  features: number,
  codes: Int8Array,
  scales: Float32Array,
): void {
  checkQuantization(x, rows, features, codes, scales);
  let run = 0;
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < features; start += BLOCK, run++) {
      const first = row * features + start;
      const end = first + Math.min(BLOCK, features - start);
      let largest = 0;
      for (let i = first; i < end; i++) largest = Math.max(largest, Math.abs(x[i]));
      const inverse = largest === 0 ? 0 : Math.fround(127 / largest);
      for (let i = first; i < end; i++) codes[i] = nearestCode(Math.fround(x[i] * inverse));
      scales[run] = largest * Math.fround(1 / 127);
    }
  }
}

/** The nearest whole number from -128 to 127, the even one of two; 0 for NaN. */
function nearestCode(value: number): number {
  if (Number.isNaN(value)) return 0;
  const rounded = Math.round(value);
  const even = rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
  return Math.max(-128, Math.min(127, even));
}

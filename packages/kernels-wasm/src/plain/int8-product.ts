import type { QuantizedTensor } from '@halftone/tensor';
import type { QuantizedRows } from '../int8-product.js';
import { int8Weight } from '../internal/int8-weight.js';

/** `Int8Product.quantizeRows` in plain TypeScript, with the same bits. */
export function plainQuantizeRows(x: Float32Array, rows: number, features: number, scale?: number): QuantizedRows {
  const codes = new Int8Array(rows * features);
  const scales = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * features, (r + 1) * features);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const fixed = Number.isNaN(largest) ? Number.NaN : scale;
    scales[r] = fixed ?? largest / 127;
    const inverse =
      scale === undefined ? (largest === 0 ? 0 : Math.fround(127 / largest)) : Math.fround(1 / Math.fround(scale));
    for (const [i, value] of row.entries()) {
      const code = roundTiesToEven(Math.fround(value * inverse));
      codes[r * features + i] = Number.isNaN(code) ? 0 : Math.min(Math.max(code, -127), 127);
    }
  }
  return { codes, scales };
}

function roundTiesToEven(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/**
 * `Int8Product.multiply` in plain TypeScript, with the same bits: a sum of products of codes for each group, exact; the sums of
 * groups times their scales, in float32 unless the scales are whole numbers; `sum * (scale of the row * scale of the feature) +
 * bias`, each step rounded to float32.
 */
export function plainInt8Product(
  weight: QuantizedTensor,
  bias: Float32Array | undefined,
  codes: Int8Array,
  scales: Float32Array,
  rows: number,
  out: Float32Array,
): void {
  const { outFeatures, inFeatures, codes: W, factors, level, groups, groupColumns, groupScales } = int8Weight(weight);
  const round = level === 'float' ? Math.fround : (value: number) => value;
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      let total = 0;
      for (let g = 0; g < groups; g++) {
        const end = Math.min(inFeatures, (g + 1) * groupColumns);
        let sum = 0;
        for (let i = g * groupColumns; i < end; i++) sum += W[o * inFeatures + i] * codes[r * inFeatures + i];
        total = round(total + round(round(sum) * (groupScales?.[o * groups + g] ?? 1)));
      }
      const scale = Math.fround(scales[r] * factors[o]);
      out[r * outFeatures + o] = Math.fround(Math.fround(total) * scale) + (bias?.[o] ?? 0);
    }
  }
}

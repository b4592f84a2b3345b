import type { GgmlType, QuantizeContext, QuantizedParts } from '@halftone/tensor';
import { FIT, scanAffine, scanBuckets } from '../internal/affine-scan.js';
import { importanceWeights } from '../internal/block-weights.js';
import { scanSymmetric } from '../internal/symmetric-scan.js';
import type { WeightRows } from '../internal/weight.js';
import { storeF16 } from './f16-scales.js';
import { chooseMinMaxCodes, chooseMinMaxScales } from './legacy-asymmetric.js';
import {
  chooseAbsmaxCodes,
  chooseAbsmaxScales,
  chooseSignedMaxCodes,
  chooseSignedMaxScales,
} from './legacy-symmetric.js';

export type LegacyType = Extract<GgmlType, 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0'>;
type GridParts = Omit<QuantizedParts, 'codes'>;

const BLOCK = 32;

/** Scales and codes of the reference encoders, without importance. */
export function quantizeLegacy(
  { data, rows, columns }: WeightRows,
  type: LegacyType,
  context: QuantizeContext,
): { readonly parts: GridParts; readonly codes: Uint8Array } {
  const scales = new Float32Array((rows * columns) / BLOCK);
  const codes = new Uint8Array(rows * columns);
  const bits = type === 'Q4_0' || type === 'Q4_1' ? 4 : 5;
  if (type === 'Q4_1' || type === 'Q5_1') {
    const offsets = new Float32Array(scales.length);
    chooseMinMaxScales(data, bits, scales, offsets);
    const parts = {
      scales: storeF16(scales, rows, BLOCK, context, type),
      offsets: storeF16(offsets, rows, BLOCK, context, type),
    };
    chooseMinMaxCodes(data, bits, scales, offsets, codes);
    return { parts, codes };
  }
  if (type === 'Q8_0') chooseAbsmaxScales(data, scales);
  else chooseSignedMaxScales(data, bits, scales);
  const parts = { scales: storeF16(scales, rows, BLOCK, context, type) };
  if (type === 'Q8_0') chooseAbsmaxCodes(data, scales, codes);
  else chooseSignedMaxCodes(data, bits, scales, codes);
  return { parts, codes };
}

const SYMMETRIC_LADDER = { first: -0.9, step: 0.1, count: 19 };
const AFFINE_LADDER = { first: -0.9, step: 0.05, count: 37 };

/** Scales (and offsets) that minimise the squared error weighted by `importance * sqrt(row variance + x²)`. */
export function chooseWeightedLegacyScales(
  { data, rows, columns }: WeightRows,
  type: Exclude<LegacyType, 'Q8_0'>,
  importance: Float64Array,
  context: QuantizeContext,
): GridParts {
  const affine = type === 'Q4_1' || type === 'Q5_1';
  const levels = type === 'Q4_0' || type === 'Q4_1' ? 15 : 31;
  const scales = new Float32Array((rows * columns) / BLOCK);
  const offsets = new Float32Array(affine ? scales.length : 0);
  const x = new Float64Array(BLOCK);
  const w = new Float64Array(BLOCK);
  const fit = new Float64Array(FIT.length);
  const buckets = scanBuckets(AFFINE_LADDER.count);
  for (let row = 0, block = 0; row < rows; row++) {
    let squares = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) squares += data[i] * data[i];
    for (let column = 0; column < columns; column += BLOCK, block++) {
      for (let i = 0; i < BLOCK; i++) x[i] = data[block * BLOCK + i];
      importanceWeights(x, importance, column, squares / columns, 0, BLOCK, w);
      if (affine) {
        scanAffine(x, w, 0, BLOCK, levels, AFFINE_LADDER, false, buckets, fit, 0);
        offsets[block] = -fit[FIT.minimum];
        scales[block] = fit[FIT.scale];
      } else {
        const half = (levels + 1) / 2;
        scanSymmetric(x, w, 0, BLOCK, half, half - 1, SYMMETRIC_LADDER, buckets, fit, 0);
        // The value of largest magnitude takes the lowest code.
        scales[block] = -fit[0];
      }
    }
  }
  return {
    scales: storeF16(scales, rows, BLOCK, context, type),
    ...(affine ? { offsets: storeF16(offsets, rows, BLOCK, context, type) } : {}),
  };
}

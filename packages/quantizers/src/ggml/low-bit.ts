/**
 * TQ1_0, TQ2_0, Q2_0 and Q1_0 as ggml's reference encoders choose them, to the byte: every step in float32, and the codes from
 * the scale before it is rounded to f16. They are made for models trained on these values; others lose most of their information.
 * Source: ggml-quants.c, quantize_row_{tq1_0,tq2_0,q2_0,q1_0}_ref.
 */
import { GGML_TYPES, type GgmlType, type QuantizeContext, type QuantizedParts } from '@halftone/tensor';
import { ggmlCodebook } from '@halftone/tensor/codebooks';
import { largestMagnitudes } from '../internal/largest-magnitude.js';
import type { WeightRows } from '../internal/weight.js';
import { storeF16 } from './f16-scales.js';

export type LowBitType = Extract<GgmlType, 'TQ1_0' | 'TQ2_0' | 'Q1_0' | 'Q2_0'>;

/** Scales: the mean magnitude (Q1_0) or the largest. Codes: the sign (Q1_0) or `x / scale` rounded, halves away from zero. */
export function quantizeLowBit(
  { data, rows }: WeightRows,
  type: LowBitType,
  context: QuantizeContext,
): { readonly parts: Omit<QuantizedParts, 'codes'>; readonly codes: Uint8Array } {
  const size = GGML_TYPES[type].blockSize;
  const scales = new Float32Array(data.length / size);
  const codes = new Uint8Array(data.length);
  if (type === 'Q1_0') chooseSigns(data, size, scales, codes);
  else {
    largestMagnitudes(data, size, scales);
    roundToScales(data, size, scales, codes);
  }
  return { parts: { scales: storeF16(scales, rows, size, context, type), codebook: ggmlCodebook(type) }, codes };
}

function chooseSigns(data: Float32Array, size: number, scales: Float32Array, codes: Uint8Array): void {
  for (let block = 0; block < scales.length; block++) {
    let sum = 0;
    for (let i = block * size; i < (block + 1) * size; i++) {
      sum = Math.fround(sum + Math.abs(data[i]));
      codes[i] = data[i] >= 0 ? 1 : 0;
    }
    scales[block] = sum / size;
  }
}

/** -1, 0 or 1 as codes 0, 1, 2. */
function roundToScales(data: Float32Array, size: number, scales: Float32Array, codes: Uint8Array): void {
  for (let block = 0; block < scales.length; block++) {
    const inverse = scales[block] === 0 ? 0 : Math.fround(1 / scales[block]);
    for (let i = block * size; i < (block + 1) * size; i++) {
      // Magnitudes are at most 1, so that the double, cut, has the sign of the rounded value.
      const doubled = (2 * Math.fround(data[i] * inverse)) | 0;
      codes[i] = 1 + ((doubled >> 31) | (-doubled >>> 31));
    }
  }
}

/**
 * TQ1_0, TQ2_0, Q2_0 and Q1_0 as ggml's reference encoders choose them, to the byte: every step in float32, and the codes from
 * the scale before it is rounded to f16. They are made for models trained on these values; others lose most of their information.
 * Source: ggml-quants.c, quantize_row_{tq1_0,tq2_0,q2_0,q1_0}_ref.
 */
import { GGML_TYPES, type GgmlType, type QuantizeContext, type QuantizedParts } from '@halftone/tensor';
import { ggmlCodebook } from '@halftone/tensor/codebooks';
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
  for (let block = 0; block < scales.length; block++) {
    const start = block * size;
    const end = start + size;
    if (type === 'Q1_0') {
      let sum = 0;
      for (let i = start; i < end; i++) {
        sum = Math.fround(sum + Math.abs(data[i]));
        codes[i] = data[i] >= 0 ? 1 : 0;
      }
      scales[block] = sum / size;
      continue;
    }
    let absmax = 0;
    for (let i = start; i < end; i++) absmax = Math.max(absmax, Math.abs(data[i]));
    scales[block] = absmax;
    const inverse = absmax === 0 ? 0 : Math.fround(1 / absmax);
    for (let i = start; i < end; i++) {
      const scaled = Math.fround(data[i] * inverse);
      codes[i] = 1 + (scaled >= 0.5 ? 1 : 0) - (scaled <= -0.5 ? 1 : 0);
    }
  }
  return { parts: { scales: storeF16(scales, rows, size, context, type), codebook: ggmlCodebook(type) }, codes };
}

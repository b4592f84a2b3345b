import { type GgmlType, type QuantizeContext, type QuantizedParts, tensor } from '@halftone/tensor';
import { ggmlCodebook, IQ4_NL_VALUES } from '@halftone/tensor/codebooks';
import { GGML_SCALE_SCHEMES } from '@halftone/tensor/ggml';
import { roundHalfEven } from '../affine-rule.js';
import { type Ladder, scanBuckets } from '../internal/affine-scan.js';
import { importanceWeights, squareWeights, sumOfSquares } from '../internal/block-weights.js';
import { scanSymmetric } from '../internal/symmetric-scan.js';
import { scanTable, scanTableScales } from '../internal/table-scan.js';
import type { WeightRows } from '../internal/weight.js';
import { storableF16, storeF16 } from './f16-scales.js';

/** Types with the table of 16 uneven values. */
export type Iq4Type = Extract<GgmlType, 'IQ4_NL' | 'IQ4_XS'>;

const SIZE = 32;
const SUPER_BLOCK = 256;
const GROUPS = SUPER_BLOCK / SIZE;
/** Signed 6-bit scale codes of IQ4_XS. */
const SCALE_HALF = 32;
const SUPER_LADDER: Ladder = { first: -0.9, step: 0.1, count: 19 };
/** Around the ends of the table, -127 and 113. ggml tries 15 steps around the first and one at the second. */
const LADDERS = [
  { first: 116, step: 1, count: 24 },
  { first: 102, step: 1, count: 22 },
] as const;
/** Share of the group's mean square that is added to the weights x²: ggml has none, which neglects the small weights. */
const WEIGHT_FLOOR = 0.25;

/**
 * IQ4_NL: one f16 scale a group of 32. IQ4_XS: each group is fitted alone, then one f16 super-scale to 8 group scales, each
 * weighed by what an error in it costs. Weights as in ggml: x² (here plus a share of its mean) without importance, else
 * `importance * sqrt(2 mean square + x²)`, the mean being that of the group (IQ4_NL) or super-block (IQ4_XS).
 * Source: ggml-quants.c, quantize_row_iq4_nl_impl.
 */
export function chooseIq4Scales(
  { data, rows, columns }: WeightRows,
  type: Iq4Type,
  importance: Float64Array | undefined,
  context: QuantizeContext,
): Omit<QuantizedParts, 'codes'> {
  const span = type === 'IQ4_NL' ? SIZE : SUPER_BLOCK;
  const table = scanTable(IQ4_NL_VALUES);
  const x = new Float64Array(span);
  const w = new Float64Array(span);
  const fit = new Float64Array(2);
  const buckets = scanBuckets(LADDERS[0].count);
  const scales = new Float32Array(data.length / SIZE);
  const costs = new Float32Array(data.length / SIZE);
  for (let first = 0; first < data.length; first += span) {
    for (let i = 0; i < span; i++) x[i] = data[first + i];
    const variance = importance === undefined ? 0 : (2 * sumOfSquares(x, 0, span)) / span;
    const column = first % columns;
    for (let i = 0; i < span; i += SIZE) {
      if (importance === undefined) squareWeights(x, i, SIZE, w, WEIGHT_FLOOR);
      else importanceWeights(x, importance, column + i, variance, i, SIZE, w);
      scanTableScales(x, w, i, SIZE, table, LADDERS, buckets, fit, 0);
      scales[(first + i) / SIZE] = fit[0];
      costs[(first + i) / SIZE] = fit[1];
    }
  }
  const codebook = ggmlCodebook(type);
  if (type === 'IQ4_NL') return { codebook, scales: storeF16(scales, rows, SIZE, context, type) };
  const { codes, superScales } = chooseSuperScales(scales, costs);
  const shape = [rows, columns / SIZE];
  return {
    codebook,
    scales: {
      kind: 'quantized',
      shape,
      scheme: GGML_SCALE_SCHEMES[type],
      parts: { codes: tensor(codes, shape), scales: storeF16(superScales, rows, SUPER_BLOCK, context, type) },
    },
  };
}

function chooseSuperScales(groupScales: Float32Array, groupCosts: Float32Array) {
  const codes = new Int8Array(groupScales.length);
  const superScales = new Float32Array(groupScales.length / GROUPS);
  const scales = new Float64Array(GROUPS);
  const costs = new Float64Array(GROUPS);
  const fit = new Float64Array(2);
  const buckets = scanBuckets(SUPER_LADDER.count);
  for (let block = 0; block < superScales.length; block++) {
    const first = block * GROUPS;
    scales.set(groupScales.subarray(first, first + GROUPS));
    costs.set(groupCosts.subarray(first, first + GROUPS));
    scanSymmetric(scales, costs, 0, GROUPS, SCALE_HALF, SCALE_HALF - 1, SUPER_LADDER, buckets, fit, 0);
    // The scale of largest magnitude takes the lowest code.
    const superScale = storableF16(-fit[0]);
    superScales[block] = superScale;
    const perCode = superScale === 0 ? 0 : 1 / superScale;
    for (let group = 0; group < GROUPS; group++) {
      const code = roundHalfEven(scales[group] * perCode);
      codes[first + group] = code < -SCALE_HALF ? -SCALE_HALF : code >= SCALE_HALF ? SCALE_HALF - 1 : code;
    }
  }
  return { codes, superScales };
}

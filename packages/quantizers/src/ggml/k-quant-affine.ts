import {
  type GgmlType,
  type QuantizeContext,
  type QuantizedParts,
  type QuantizedTensor,
  tensor,
} from '@halftone/tensor';
import { GGML_SCALE_SCHEMES } from '@halftone/tensor/ggml';
import { FIT, type Ladder, scanAffine, scanBuckets } from '../internal/affine-scan.js';
import { importanceWeights, magnitudeWeights, sumOfSquares } from '../internal/block-weights.js';
import { scanSymmetric } from '../internal/symmetric-scan.js';
import type { WeightRows } from '../internal/weight.js';
import { storableF16, storeF16 } from './f16-scales.js';

/** K-quants with scales and minimums: Q2_K (16 groups of 16), Q4_K and Q5_K (8 groups of 32). */
export type KQuantAffineType = Extract<GgmlType, 'Q2_K' | 'Q4_K' | 'Q5_K'>;

const SUPER_BLOCK = 256;
const PLAIN_LADDERS: Readonly<Record<KQuantAffineType, Ladder>> = {
  Q2_K: { first: -0.5, step: 0.1, count: 16 },
  Q4_K: { first: -1, step: 0.1, count: 21 },
  Q5_K: { first: -0.5, step: 0.1, count: 16 },
};
const WEIGHTED_LADDER: Ladder = { first: -0.9, step: 0.05, count: 37 };
const SUPER_LADDER: Ladder = { first: -0.4, step: 0.1, count: 9 };

/**
 * Two-level scales and minimums. Each group is fitted alone; then one f16 super-scale is fitted to the group scales (each
 * weighed by what an error in it costs), the group scales are rounded, the best minimums for the rounded scales follow,
 * and are rounded in the same way. ggml rounds the minimums that belong to unrounded scales.
 * Source: ggml-quants.c, quantize_row_{q2,q4,q5}_K_{ref,impl}.
 */
export function chooseKQuantAffineScales(
  { data, rows, columns }: WeightRows,
  type: KQuantAffineType,
  importance: Float64Array | undefined,
  context: QuantizeContext,
): Omit<QuantizedParts, 'codes'> {
  const size = type === 'Q2_K' ? 16 : 32;
  const groups = SUPER_BLOCK / size;
  const levels = type === 'Q2_K' ? 3 : type === 'Q4_K' ? 15 : 31;
  const highest = type === 'Q2_K' ? 15 : 63;
  const ladder = importance === undefined ? PLAIN_LADDERS[type] : WEIGHTED_LADDER;
  // ggml weighs Q2_K by |x| alone, which ignores zeros beside a single large weight.
  const weightFloor = type === 'Q2_K' ? 0.1 : 1;
  const blocks = (rows * columns) / SUPER_BLOCK;
  const scaleCodes = new Uint8Array(blocks * groups);
  const minimumCodes = new Uint8Array(blocks * groups);
  const superScales = new Float32Array(blocks);
  const superOffsets = new Float32Array(blocks);
  const x = new Float64Array(SUPER_BLOCK);
  const w = new Float64Array(SUPER_BLOCK);
  const fits = new Float64Array(groups * FIT.length);
  const values = new Float64Array(groups);
  const costs = new Float64Array(groups);
  const superFit = new Float64Array(2);
  const buckets = scanBuckets(WEIGHTED_LADDER.count);

  for (let block = 0; block < blocks; block++) {
    const first = block * SUPER_BLOCK;
    for (let i = 0; i < SUPER_BLOCK; i++) x[i] = data[first + i];
    if (importance !== undefined) {
      const variance = ((type === 'Q2_K' ? 1 : 2) * sumOfSquares(x, 0, SUPER_BLOCK)) / SUPER_BLOCK;
      const column = first % columns;
      for (let i = 0; i < SUPER_BLOCK; i += size) importanceWeights(x, importance, column + i, variance, i, size, w);
    } else {
      for (let i = 0; i < SUPER_BLOCK; i += size) magnitudeWeights(x, i, size, w, weightFloor);
    }
    for (let group = 0; group < groups; group++) {
      const at = group * FIT.length;
      scanAffine(x, w, group * size, size, levels, ladder, true, buckets, fits, at);
      values[group] = fits[at + FIT.scale];
      costs[group] = scaleCost(fits, at);
    }
    const superScale = storableF16(fitSuperScale(values, costs, groups, highest, buckets, superFit));
    superScales[block] = superScale;
    const perCode = superScale > 0 ? 1 / superScale : 0;
    for (let group = 0; group < groups; group++) {
      const at = group * FIT.length;
      const code = nearestUpTo(values[group] * perCode, highest);
      scaleCodes[block * groups + group] = code;
      const weight = fits[at + FIT.weight];
      costs[group] = weight;
      const weightCode = fits[at + FIT.weightCode];
      const minimum =
        weightCode > 0 && weight > 0
          ? (superScale * code * weightCode - fits[at + FIT.weightX]) / weight
          : fits[at + FIT.minimum];
      values[group] = minimum > 0 ? minimum : 0;
    }
    const superMinimum = storableF16(fitSuperScale(values, costs, groups, highest, buckets, superFit));
    superOffsets[block] = -superMinimum;
    const perMinimum = superMinimum > 0 ? 1 / superMinimum : 0;
    for (let group = 0; group < groups; group++) {
      minimumCodes[block * groups + group] = nearestUpTo(values[group] * perMinimum, highest);
    }
  }
  const scheme = GGML_SCALE_SCHEMES[type];
  const shape = [rows, columns / size];
  const level = (codes: Uint8Array, factors: Float32Array): QuantizedTensor => ({
    kind: 'quantized',
    shape,
    scheme,
    parts: { codes: tensor(codes, shape), scales: storeF16(factors, rows, SUPER_BLOCK, context, type) },
  });
  return { scales: level(scaleCodes, superScales), offsets: level(minimumCodes, superOffsets) };
}

/** What a squared change of a group's scale costs: less when the minimum, being above zero, can follow it. */
function scaleCost(fits: Float64Array, at: number): number {
  const squares = fits[at + FIT.weightCode2];
  if (fits[at + FIT.minimum] <= 0) return squares;
  const sum = fits[at + FIT.weightCode];
  return Math.max(squares - (sum * sum) / fits[at + FIT.weight], 1e-3 * squares);
}

/** The factor that makes integers `0 .. highest` fit the non-negative values best; 0 when all are negligible. */
function fitSuperScale(
  values: Float64Array,
  costs: Float64Array,
  groups: number,
  highest: number,
  buckets: Float64Array,
  fit: Float64Array,
): number {
  scanSymmetric(values, costs, 0, groups, highest, highest, SUPER_LADDER, buckets, fit, 0);
  return fit[0];
}

function nearestUpTo(value: number, highest: number): number {
  const code = (value + 0.5) | 0;
  return code > highest ? highest : code;
}

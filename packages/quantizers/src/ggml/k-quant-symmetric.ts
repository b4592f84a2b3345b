import { type GgmlType, type QuantizeContext, type QuantizedParts, tensor } from '@halftone/tensor';
import { GGML_SCALE_SCHEMES } from '@halftone/tensor/ggml';
import { roundHalfEven } from '../affine-rule.js';
import { type Ladder, scanBuckets } from '../internal/affine-scan.js';
import { importanceWeights, squareWeights, sumOfSquares } from '../internal/block-weights.js';
import { scanSymmetric } from '../internal/symmetric-scan.js';
import type { WeightRows } from '../internal/weight.js';
import { storableF16, storeF16 } from './f16-scales.js';

/** K-quants with scales only, 16 groups of 16: Q3_K and Q6_K. */
export type KQuantSymmetricType = Extract<GgmlType, 'Q3_K' | 'Q6_K'>;

const SUPER_BLOCK = 256;
const SIZE = 16;
const GROUPS = SUPER_BLOCK / SIZE;
/** Share of the group's mean square that is added to the weights x²: ggml has none, which neglects the small weights. */
const WEIGHT_FLOOR = 0.5;
const LADDER: Ladder = { first: -0.9, step: 0.1, count: 19 };

/**
 * Two-level scales. Each group is fitted alone; one f16 super-scale is then fitted to the group scales, each weighed by what
 * an error in it costs. Weights: x² plus half its mean without importance; with it `importance * sqrt(variance + x²)` for Q3_K, the bare
 * importance for Q6_K. Source: ggml-quants.c, quantize_row_{q3,q6}_K_{ref,impl}.
 */
export function chooseKQuantSymmetricScales(
  { data, rows, columns }: WeightRows,
  type: KQuantSymmetricType,
  importance: Float64Array | undefined,
  context: QuantizeContext,
): Omit<QuantizedParts, 'codes'> {
  const half = type === 'Q3_K' ? 4 : 32;
  const scaleHalf = type === 'Q3_K' ? 32 : 128;
  const blocks = (rows * columns) / SUPER_BLOCK;
  const scaleCodes = new Int8Array(blocks * GROUPS);
  const superScales = new Float32Array(blocks);
  const x = new Float64Array(SUPER_BLOCK);
  const w = new Float64Array(SUPER_BLOCK);
  const fit = new Float64Array(2);
  const scales = new Float64Array(GROUPS);
  const costs = new Float64Array(GROUPS);
  const buckets = scanBuckets(LADDER.count);

  for (let block = 0; block < blocks; block++) {
    const first = block * SUPER_BLOCK;
    for (let i = 0; i < SUPER_BLOCK; i++) x[i] = data[first + i];
    if (importance === undefined) {
      for (let i = 0; i < SUPER_BLOCK; i += SIZE) squareWeights(x, i, SIZE, w, WEIGHT_FLOOR);
    } else if (type === 'Q3_K') {
      const variance = (2 * sumOfSquares(x, 0, SUPER_BLOCK)) / SUPER_BLOCK;
      const column = first % columns;
      for (let i = 0; i < SUPER_BLOCK; i += SIZE) importanceWeights(x, importance, column + i, variance, i, SIZE, w);
    } else {
      copyImportance(importance, first % columns, w);
    }
    for (let group = 0; group < GROUPS; group++) {
      scanSymmetric(x, w, group * SIZE, SIZE, half, half - 1, LADDER, buckets, fit, 0);
      scales[group] = -fit[0];
      costs[group] = fit[1];
    }
    scanSymmetric(scales, costs, 0, GROUPS, scaleHalf, scaleHalf - 1, LADDER, buckets, fit, 0);
    const superScale = storableF16(-fit[0]);
    superScales[block] = superScale;
    const perCode = superScale === 0 ? 0 : 1 / superScale;
    for (let group = 0; group < GROUPS; group++) {
      const code = roundHalfEven(scales[group] * perCode);
      scaleCodes[block * GROUPS + group] = code < -scaleHalf ? -scaleHalf : code >= scaleHalf ? scaleHalf - 1 : code;
    }
  }
  const shape = [rows, columns / SIZE];
  return {
    scales: {
      kind: 'quantized',
      shape,
      scheme: GGML_SCALE_SCHEMES[type],
      parts: { codes: tensor(scaleCodes, shape), scales: storeF16(superScales, rows, SUPER_BLOCK, context, type) },
    },
  };
}

/** Groups without any importance get equal, tiny weights. */
function copyImportance(importance: Float64Array, column: number, w: Float64Array): void {
  for (let start = 0; start < SUPER_BLOCK; start += SIZE) {
    let sum = 0;
    for (let i = start; i < start + SIZE; i++) {
      w[i] = importance[column + i];
      sum += w[i];
    }
    if (sum === 0) w.fill(1e-30, start, start + SIZE);
  }
}

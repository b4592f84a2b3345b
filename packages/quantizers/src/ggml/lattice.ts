import { type QuantizeContext, type QuantizedParts, type Tensor, tensor, toFloat32 } from '@halftone/tensor';
import { ggmlCodebook, ggmlScaleCodebook } from '@halftone/tensor/codebooks';
import { GGML_SCALE_SCHEMES } from '@halftone/tensor/ggml';
import type { FrozenGrid } from '../grid-quantizer.js';
import { importanceWeights, squareWeights, sumOfSquares } from '../internal/block-weights.js';
import type { LatticeGroup } from '../internal/lattice-group.js';
import type { WeightRows } from '../internal/weight.js';
import { storableF16, storeF16 } from './f16-scales.js';
import { LATTICE_RULES, type LatticeRules, type LatticeType } from './lattice-types.js';

const SUPER_BLOCK = 256;
/** Trial super-scales: the largest group scale takes the highest code plus 1, plus 0.75 ... */
const SUPER_TRIALS = 12;
const SUPER_STEP = 0.25;

/**
 * Two-level scales. Each group is fitted alone: the vectors nearest at each of a few trial scales give the least-squares scale, and
 * for most types the best of them is refined once. One f16 super-scale is then fitted to the group scales, each weighed by what an error in it
 * costs. ggml fits to evenly spaced values (1, 3, 5 for 8, 25, 43) and mends the super-scale by constants.
 */
export function chooseLatticeScales(
  { data, rows, columns }: WeightRows,
  type: LatticeType,
  group: LatticeGroup,
  importance: Float64Array | undefined,
  context: QuantizeContext,
): Omit<QuantizedParts, 'codes'> {
  const rules = LATTICE_RULES[type];
  const { groupSize } = rules;
  const groups = SUPER_BLOCK / groupSize;
  const blocks = (rows * columns) / SUPER_BLOCK;
  const codebook = ggmlScaleCodebook(type) as Tensor<Float32Array>;
  const scaleCodes = new Uint8Array(blocks * groups);
  const superScales = new Float32Array(blocks);
  const x = new Float64Array(SUPER_BLOCK);
  const w = new Float64Array(SUPER_BLOCK);
  const steps = new Float64Array(groups);
  const costs = new Float64Array(groups);
  for (let block = 0; block < blocks; block++) {
    loadBlock(data, block, columns, rules, importance ?? 'magnitude', x, w);
    for (let g = 0; g < groups; g++) {
      const unit = group.load(x, w, g * groupSize);
      steps[g] = unit > 0 ? fitStep(group, unit, rules) : 0;
      costs[g] = unit > 0 ? group.sums[1] : 0;
    }
    const superScale = storableF16(fitSuperScale(steps, costs, codebook.data));
    superScales[block] = superScale;
    for (let g = 0; g < groups; g++) {
      scaleCodes[block * groups + g] = nearestMultiple(steps[g], superScale, codebook.data);
    }
  }
  const shape = [rows, columns / groupSize];
  return {
    codebook: ggmlCodebook(type),
    scales: {
      kind: 'quantized',
      shape,
      scheme: GGML_SCALE_SCHEMES[type],
      parts: {
        codes: tensor(scaleCodes, shape),
        scales: storeF16(superScales, rows, SUPER_BLOCK, context, type),
        codebook,
      },
    },
  };
}

export interface LatticeCodes {
  readonly codes: Uint8Array | Uint16Array;
  readonly signs?: Uint8Array;
}

/** What weighs the error of an element: its importance as in ggml, its own magnitude where there is none, or nothing. */
export type LatticeWeights = Float64Array | 'magnitude' | 'equal';

/** The nearest vectors, signs and shifts on fixed scales. */
export function chooseLatticeCodes(
  { data, rows, columns }: WeightRows,
  type: LatticeType,
  group: LatticeGroup,
  grid: FrozenGrid,
  weights: LatticeWeights,
): LatticeCodes {
  const rules = LATTICE_RULES[type];
  const { groupSize, vectorLength } = rules;
  const steps = toFloat32(grid.parts.scales as Tensor);
  const blocks = (rows * columns) / SUPER_BLOCK;
  const groups = SUPER_BLOCK / groupSize;
  const count = data.length / vectorLength;
  const codes = type === 'IQ2_XXS' || type === 'IQ3_XXS' ? new Uint8Array(count) : new Uint16Array(count);
  const signs = new Uint8Array(rules.signs === 'none' ? 0 : data.length);
  const x = new Float64Array(SUPER_BLOCK);
  const w = new Float64Array(SUPER_BLOCK);
  for (let block = 0; block < blocks; block++) {
    loadBlock(data, block, columns, rules, weights, x, w);
    for (let g = 0; g < groups; g++) {
      const step = steps[block * groups + g];
      // All values of the group decode to zero: any codes do.
      if (step === 0) continue;
      const first = block * SUPER_BLOCK + g * groupSize;
      if (step < 0) for (let i = g * groupSize; i < (g + 1) * groupSize; i++) x[i] = -x[i];
      group.load(x, w, g * groupSize);
      group.round(Math.abs(step));
      codes.set(group.codes, first / vectorLength);
      if (signs.length > 0) signs.set(group.signs, first);
    }
  }
  return signs.length > 0 ? { codes, signs } : { codes };
}

function loadBlock(
  data: Float32Array,
  block: number,
  columns: number,
  rules: LatticeRules,
  weights: LatticeWeights,
  x: Float64Array,
  w: Float64Array,
): void {
  const { groupSize, variance, weightFloor } = rules;
  const first = block * SUPER_BLOCK;
  for (let i = 0; i < SUPER_BLOCK; i++) x[i] = data[first + i];
  if (weights === 'equal') {
    w.fill(1);
    return;
  }
  if (weights === 'magnitude') {
    for (let i = 0; i < SUPER_BLOCK; i += groupSize) squareWeights(x, i, groupSize, w, weightFloor);
    return;
  }
  const base = (variance * sumOfSquares(x, 0, SUPER_BLOCK)) / SUPER_BLOCK;
  const column = first % columns;
  for (let i = 0; i < SUPER_BLOCK; i += groupSize) importanceWeights(x, weights, column + i, base, i, groupSize, w);
}

/** The scale of the loaded group that its nearest vectors fit best, of those that the trials lead to. */
function fitStep(group: LatticeGroup, unit: number, { trials, refine }: LatticeRules): number {
  const { sums } = group;
  let bestGain = 0;
  let best = unit;
  for (const trial of trials) {
    group.round(trial * unit);
    const [qx, q2] = sums;
    if (qx > 0 && qx * qx > bestGain * q2) {
      bestGain = (qx * qx) / q2;
      best = qx / q2;
    }
  }
  if (!refine) return best;
  group.round(best);
  return sums[0] > 0 ? sums[0] / sums[1] : best;
}

/** The super-scale whose multiples come nearest to the group scales, weighed by their costs; 0 for zeros. */
function fitSuperScale(steps: Float64Array, costs: Float64Array, multiples: Float32Array): number {
  let largest = 0;
  for (let g = 0; g < steps.length; g++) if (steps[g] > largest) largest = steps[g];
  const top = multiples[multiples.length - 1];
  const spacing = multiples[1] - multiples[0];
  let bestGain = -1;
  let best = 0;
  for (let k = 0; k < SUPER_TRIALS && largest > 0; k++) {
    const trial = largest / (top + spacing * (1 - k * SUPER_STEP));
    let ms = 0;
    let m2 = 0;
    for (let g = 0; g < steps.length; g++) {
      const multiple = multiples[nearestMultiple(steps[g], trial, multiples)];
      ms += costs[g] * multiple * steps[g];
      m2 += costs[g] * multiple * multiple;
    }
    if (m2 > 0 && ms * ms > bestGain * m2) {
      bestGain = (ms * ms) / m2;
      best = ms / m2;
    }
  }
  return best;
}

/** Multiples are evenly spaced. */
function nearestMultiple(step: number, superScale: number, multiples: Float32Array): number {
  if (!(superScale > 0)) return 0;
  const code = Math.round((step / superScale - multiples[0]) / (multiples[1] - multiples[0]));
  return Math.min(multiples.length - 1, Math.max(0, code));
}

import type { GgmlType } from '@halftone/tensor';
import type { LatticeName } from '@halftone/tensor/codebooks';

/** ggml types whose codes choose vectors of a lattice. */
export type LatticeType = Extract<GgmlType, 'IQ1_S' | 'IQ1_M' | 'IQ2_XXS' | 'IQ2_XS' | 'IQ2_S' | 'IQ3_XXS' | 'IQ3_S'>;

export interface LatticeRules {
  readonly lattice: LatticeName;
  readonly vectorLength: 4 | 8;
  /** Columns that share a scale. */
  readonly groupSize: 16 | 32;
  /** `even`: of 8 neighbours an even number is negative, so that 7 bits hold 8 signs. `none`: the lattice has negative values. */
  readonly signs: 'none' | 'free' | 'even';
  /** What may be added to all values of a vector: code `shift * entries + entry`. */
  readonly shifts: readonly number[];
  /** Columns that share a shift. */
  readonly shiftSpan: number;
  /** First guesses of a group's scale: as multiples of largest magnitude / largest value or, `signs: 'none'`, of the root mean square. */
  readonly trials: readonly number[];
  /** Whether the vectors nearest at the scale found give another scale. Ternary vectors gain too little by it. */
  readonly refine: boolean;
  /** Multiple of the super-block's mean square inside the root of `importance * sqrt(multiple * mean square + x²)`. */
  readonly variance: number;
  /** Without importance the weights are x² plus this share of the group's mean square. ggml adds half for IQ2_S, nothing for others. */
  readonly weightFloor: number;
}

const EIGHT_LEVELS = {
  vectorLength: 4,
  groupSize: 32,
  shifts: [0],
  shiftSpan: 4,
  variance: 2,
  weightFloor: 0.25,
  refine: true,
} as const;
const THREE_LEVELS = { vectorLength: 8, shifts: [0], shiftSpan: 8, weightFloor: 0.5, refine: true } as const;
const TERNARY = {
  lattice: 'iq1',
  vectorLength: 8,
  signs: 'none',
  shifts: [0.125, -0.125],
  trials: [1.18],
  refine: false,
  variance: 2,
  weightFloor: 0.25,
} as const;
const TRIALS_2 = [0.8, 0.95];
const TRIALS_3 = [0.9, 1.02, 1.25];

/** Source: ggml-quants.c, `quantize_row_iq*_impl`. */
export const LATTICE_RULES: Readonly<Record<LatticeType, LatticeRules>> = {
  IQ1_S: { ...TERNARY, groupSize: 32, shiftSpan: 32 },
  IQ1_M: { ...TERNARY, groupSize: 16, shiftSpan: 8 },
  IQ2_XXS: { ...THREE_LEVELS, lattice: 'iq2_xxs', groupSize: 32, signs: 'even', trials: TRIALS_2, variance: 1 },
  IQ2_XS: { ...THREE_LEVELS, lattice: 'iq2_xs', groupSize: 16, signs: 'even', trials: TRIALS_2, variance: 1 },
  IQ2_S: { ...THREE_LEVELS, lattice: 'iq2_s', groupSize: 16, signs: 'free', trials: TRIALS_2, variance: 2 },
  IQ3_XXS: { ...EIGHT_LEVELS, lattice: 'iq3_xxs', signs: 'even', trials: TRIALS_3 },
  IQ3_S: { ...EIGHT_LEVELS, lattice: 'iq3_s', signs: 'free', trials: TRIALS_3 },
};

export function isLatticeType(type: GgmlType): type is LatticeType {
  return Object.hasOwn(LATTICE_RULES, type);
}

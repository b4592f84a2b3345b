import type { WeightLayout } from '@halftone/tensor';

/** Every layout of quantized weights, in the order in which they are tried. Import single ones where the size of a bundle matters. */
export const WEIGHT_LAYOUTS: readonly WeightLayout[] = [];

import type { GgmlType } from '@halftone/tensor';

/** ggml types whose codes stand for 4 or 8 values each. */
export const LATTICE_TYPES: readonly GgmlType[] = ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S'];

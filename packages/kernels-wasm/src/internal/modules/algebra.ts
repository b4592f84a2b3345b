import { relaxed } from '../../generated/algebra-relaxed.js';
import { simd } from '../../generated/algebra-simd.js';
import type { KernelModule } from '../kernel-module.js';

/** Kernels end in the bits of their elements. */
export type AlgebraKernel =
  | `${'packRows' | 'packColumns' | 'multiply' | 'batch' | 'substitute' | 'factor'}${32 | 64}`
  | 'accumulate';

/** Dense linear algebra. */
export const ALGEBRA: KernelModule<AlgebraKernel> = {
  name: 'algebra',
  edits: { simd: [simd], relaxed: [simd, relaxed] },
};

import { relaxed } from '../../generated/attention-relaxed.js';
import { simd } from '../../generated/attention-simd.js';
import type { KernelModule } from '../kernel-module.js';

/** Attention over keys and values as they are stored. */
export const ATTENTION: KernelModule<'attendItems' | 'mergeSplits'> = {
  name: 'attention',
  hex: { simd: [simd], relaxed: [simd, relaxed] },
};

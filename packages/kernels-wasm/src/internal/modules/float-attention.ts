import { relaxed } from '../../generated/float-attention-relaxed.js';
import { simd } from '../../generated/float-attention-simd.js';
import type { KernelModule } from '../kernel-module.js';

export type AttentionModule = KernelModule<'attendItems' | 'mergeSplits'>;

/** Attention over keys and values in float32. */
export const FLOAT_ATTENTION: AttentionModule = {
  name: 'float-attention',
  edits: { simd: [simd], relaxed: [simd, relaxed] },
};

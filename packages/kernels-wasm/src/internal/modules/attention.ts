import { relaxed } from '../../generated/attention-relaxed.js';
import { simd } from '../../generated/attention-simd.js';
import { relaxed as floatRelaxed } from '../../generated/float-attention-relaxed.js';
import { simd as floatSimd } from '../../generated/float-attention-simd.js';
import type { AttentionModule } from './float-attention.js';

/** Attention over keys and values as they are stored. */
export const ATTENTION: AttentionModule = {
  name: 'attention',
  edits: { simd: [floatSimd, floatRelaxed, simd], relaxed: [floatSimd, floatRelaxed, simd, relaxed] },
};

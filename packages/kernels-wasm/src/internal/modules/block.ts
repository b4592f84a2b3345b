import { simd } from '../../generated/block-simd.js';
import type { KernelModule } from '../kernel-module.js';

/** See `kernels/block`. Rows and values are independent of each other in all of them. */
export type BlockKernel =
  /** `(x, out, rows, features, gain, epsilon)` */
  | 'rmsNorm'
  /** `(x, out, rows, features, gain, bias or 0, epsilon)` */
  | 'layerNorm'
  /** `(x, rowIndex, rows, heads, pairs, cosines, sines)` */
  | 'rotate'
  | 'rotateInterleaved'
  /** `(x, factor or 0, index of the first value, pieces, length)` */
  | ActivationKernel
  /** `(x, y, index of the first value, pieces, length)` */
  | 'add';

export type ActivationKernel = 'silu' | 'gelu' | 'geluTanh';

/** What a transformer block computes beside linear layers and attention. */
export const BLOCK_MODULE: KernelModule<BlockKernel> = { name: 'block', edits: { simd: [simd], relaxed: [simd] } };

import { simd } from '../../generated/signal-simd.js';
import type { KernelModule } from '../kernel-module.js';

/** See `kernels/signal`. Rows and blocks are independent of each other. */
export type SignalKernel =
  /** `(x, out, rows, features, factor)` */
  | 'softmax'
  /** `(x, count, factor)` */
  | 'largest'
  /** `(x, count, top)` */
  | 'exponentialSum'
  /** `(x, blocks, order, exponent, scale, scratch)` */
  | 'walshHadamard'
  /** `(x, count)` */
  | 'argmax'
  /** `(x, count, k, heap, values, indices)` */
  | 'topK'
  /** `(x, codes, scales, rows, features)` */
  | 'quantize';

/** Operations on rows that the backend does without. */
export const SIGNAL_MODULE: KernelModule<SignalKernel> = { name: 'signal', edits: { simd: [simd], relaxed: [simd] } };

import { simd } from '../../generated/decode-simd.js';
import type { KernelModule } from '../kernel-module.js';
import type { RepackedType } from '../stored-types.js';

/** ggml blocks to float32, one kernel for each type: `(from, to, blocks)`. */
export const DECODE: KernelModule<`decode${RepackedType}`> = {
  name: 'decode',
  edits: { simd: [simd], relaxed: [simd] },
};

import { relaxed } from '../../generated/int8-relaxed.js';
import { simd } from '../../generated/int8-simd.js';
import type { Int8Kernel } from '../int8-kernels.js';
import type { KernelModule } from '../kernel-module.js';

/** Products of 8-bit activations with 8-bit and 4-bit weights, summed as integers. */
export const INT8: KernelModule<Int8Kernel> = { name: 'int8', edits: { simd: [simd], relaxed: [simd, relaxed] } };

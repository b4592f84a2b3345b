import { simd } from '../../generated/repack-simd.js';
import type { KernelModule } from '../kernel-module.js';
import type { RepackKernel } from '../repack-kernels.js';

/** From the bytes of files to panels. */
export const REPACK: KernelModule<RepackKernel> = { name: 'repack', edits: { simd: [simd], relaxed: [simd] } };

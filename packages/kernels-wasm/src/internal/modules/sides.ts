import { simd } from '../../generated/sides-simd.js';
import type { KernelModule } from '../kernel-module.js';
import type { SideKernel } from '../side-kernels.js';

/** What a quantized weight may have beside its codes. */
export const SIDES: KernelModule<SideKernel> = { name: 'sides', edits: { simd: [simd], relaxed: [simd] } };

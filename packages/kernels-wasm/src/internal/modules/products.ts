import { relaxed } from '../../generated/products-relaxed.js';
import { simd } from '../../generated/products-simd.js';
import type { KernelModule } from '../kernel-module.js';
import type { ProductKernel } from '../product-kernels.js';

/** Products of linear layers. */
export const PRODUCTS: KernelModule<ProductKernel> = {
  name: 'products',
  edits: { simd: [simd], relaxed: [simd, relaxed] },
};

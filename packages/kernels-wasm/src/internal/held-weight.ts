import type { UploadedLinear } from '@halftone/tensor';
import type { Arena } from './arena.js';
import type { Kernel } from './kernel-module.js';
import type { Layout } from './layout.js';
import type { ProductKernel } from './product-kernels.js';

export type ProductKernels = Readonly<Record<ProductKernel, Kernel>>;

/** A weight in an arena's memory: panels of 8 output features. */
export interface HeldWeight extends UploadedLinear {
  readonly arena: Arena;
  readonly kernels: ProductKernels;
  readonly panels: number;
  /** Columns of the panels: `inFeatures` rounded up to what the kernels need, with zeros. */
  readonly depth: number;
  readonly weight: number;
  /** `[8 panels]` float32, zeros where there is no bias. */
  readonly bias: number;
  /** Absent for float32 panels. */
  readonly quantized?: { readonly layout: Layout; readonly center: number };
}

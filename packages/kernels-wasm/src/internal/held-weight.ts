import type { UploadedLinear } from '@halftone/tensor';
import type { Arena } from './arena.js';
import type { Layout } from './layout.js';

/** A weight in an arena's memory: panels of 8 output features. */
export interface HeldWeight extends UploadedLinear {
  readonly arena: Arena;
  readonly panels: number;
  /** Columns of the panels: `inFeatures` rounded up to what the kernels need, with zeros. */
  readonly depth: number;
  readonly weight: number;
  /** `[8 panels]` float32, zeros where there is no bias. */
  readonly bias: number;
  /** Absent for float32 panels. */
  readonly quantized?: { readonly layout: Layout; readonly center: number };
}

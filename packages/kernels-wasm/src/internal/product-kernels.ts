import type { ActivationFormat, LayoutName } from './layout.js';

/** What the products module exports. Weights and sums lie in panels of 8 output features; see `kernels/products`. */
export type ProductKernel =
  /** `(bias, sums, rows, panels)` */
  | 'fillBias'
  /** `(sums, stride, out, rows, features)` */
  | 'unpackSums'
  /** `(x, tiles, k, out)` */
  | 'packTiles'
  /** `(tiles, weight, sums, tiles, panels, k)` */
  | 'floatGemm'
  /** `(weight, x, sums, panels, k)` */
  | 'floatGemv'
  /** `(tiles, weight, sums, tiles, panels, k, groups, offsets, nibbles, center, scratch)` */
  | 'quantizedFloatGemm'
  /** `(weight, x, sums, panels, k, groups, offsets, nibbles, center, scratch)` */
  | 'quantizedFloatGemv'
  /** `(x, rows, blocks, center, records)` */
  | `${ActivationFormat}Quantize`
  /** `(weight, records, sums, panels, blocks)` */
  | `${LayoutName}Gemv`
  /** `(weight, records, sums, rows, panels, blocks, scratch)` */
  | `${LayoutName}Gemm`;

import type { ActivationFormat, LayoutName } from './layout.js';

/**
 * What the products module exports. Weights lie in panels of 8 output features, `out` is row-major with `stride` values a row;
 * `features` is how many there are from the first panel on. Panels, tiles and rows are independent items of a job.
 */
export type ProductKernel =
  /** `(x, rows, first tile, tiles, all tiles, k, out)` */
  | 'packTiles'
  /** `(weight, tiles, out, rows, panels, k, bias, features, stride, scratch)` */
  | 'floatGemm'
  /** `(weight, x, out, panels, k, bias, features, scratch)` */
  | 'floatGemv'
  /** Those of `floatGemm`, then `(groups, offsets, bits, center, float table)`. */
  | 'quantizedFloatGemm'
  /** Those of `floatGemv`, then `(groups, offsets, bits, center, float table)`. */
  | 'quantizedFloatGemv'
  /** `(x, rows, all rows, blocks, center, records)` */
  | `${ActivationFormat}Quantize`
  /** `(weight, records, out, panels, blocks, bias, features, bytes of a panel to read first or 0, tables)` */
  | `${LayoutName}Gemv`
  /** `(weight, records, out, rows, all rows, panels, blocks, bias, features, stride, scratch, tables)` */
  | `${LayoutName}Gemm`;

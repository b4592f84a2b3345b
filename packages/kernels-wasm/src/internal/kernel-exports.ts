import type { ActivationFormat, LayoutName } from './layout.js';

/** Everything is an address, a count or a flag. */
type Kernel = (...args: readonly number[]) => void;

/** What a module exports. Weights and sums lie in panels of 8 output features; see `kernels/` for each function. */
export type KernelExports = Readonly<
  {
    /** `(bias, sums, rows, panels)` */
    fillBias: Kernel;
    /** `(sums, stride, out, rows, features)` */
    unpackSums: Kernel;
    /** `(x, tiles, k, out)` */
    packTiles: Kernel;
    /** `(tiles, weight, sums, tiles, panels, k)` */
    floatGemm: Kernel;
    /** `(weight, x, sums, panels, k)` */
    floatGemv: Kernel;
    /** `(tiles, weight, sums, tiles, panels, k, groups, offsets, nibbles, center, scratch)` */
    quantizedFloatGemm: Kernel;
    /** `(weight, x, sums, panels, k, groups, offsets, nibbles, center, scratch)` */
    quantizedFloatGemv: Kernel;
  } & {
    /** `(x, rows, blocks, center, records)` */
    [name in `${ActivationFormat}Quantize`]: Kernel;
  } & {
    /** `(weight, records, sums, panels, blocks)` */
    [name in `${LayoutName}Gemv`]: Kernel;
  } & {
    /** `(weight, records, sums, rows, panels, blocks, scratch)` */
    [name in `${LayoutName}Gemm`]: Kernel;
  }
>;

import { tileRows, type WasmBuild } from '../layout.js';

/** Sizes that the kernels of linear algebra and their callers agree on. `kernels/` imports them to write the kernels. */

/** Rows and columns of the part of a product that is summed in registers: two vectors wide. */
export function algebraTile(
  build: WasmBuild,
  elementBytes: number,
): { readonly rows: number; readonly columns: number } {
  return { rows: tileRows(build), columns: 32 / elementBytes };
}

/** Terms summed before sums go back to memory. A panel of `b` of this depth takes 8 kB, or 16 kB in float64. */
export const SUM_DEPTH = 256;
/** What one thread multiplies at a time: a multiple of both builds' tiles. */
export const BLOCK_ROWS = 48;
export const BLOCK_COLUMNS = 64;
/** Rows and columns packed at a time, whole blocks: 2.4 MB of each operand, twice that in float64. */
export const PACKED = 2304;
/** Memory of a thread for a tile that is not whole. */
export const TEMPORARY_BYTES = 512;
/** Rows of a triangle that is solved or factored without a product. */
export const TRIANGLE = 64;
/** Rows, columns and depth of the kernel `batch`'s record, in words of 4 bytes. The steps are in bytes. */
export const BATCH = {
  m: 0,
  n: 1,
  k: 2,
  stepA: 3,
  rowStepA: 4,
  depthStepA: 5,
  stepB: 6,
  columnStepB: 7,
  depthStepB: 8,
  stepC: 9,
  rowStepC: 10,
  /** A float32 or float64, as is `beta`. */
  alpha: 12,
  beta: 14,
} as const;
export const BATCH_BYTES = 64;

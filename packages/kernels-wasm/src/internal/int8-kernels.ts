import type { Int8Storage } from './int8-layout.js';

/** What the int8 module exports. Rows, tiles and panels are independent items of a job. */
export type Int8Kernel =
  /** `(x, rows, columns, fixed scale or 0, codes, bytes of a row of codes, scales)` */
  | 'quantizeRows'
  /** `(codes, rows, depth, groups, blocks of a group, all rows, out)`: `[group][row]` */
  | 'groupSums'
  /** `(codes, rows, first tile, tiles, depth, out)` */
  | 'packTiles'
  /** `(codes, rows, all rows, blocks, out)` */
  | 'packBytes'
  /** `(codes, blocks, out)`, one row */
  | 'packWords'
  | 'packNibbleWords'
  /** `(weight, x, group sums, out, panels, groups, blocks of a group, level, factors, bias, features, scales)` */
  | `${Int8Storage}Gemv`
  /** `(weight, x, group sums, out, rows, panels, groups, blocks, level, factors, bias, features, stride, scales, scratch)` */
  | `${Int8Storage}Gemm`;

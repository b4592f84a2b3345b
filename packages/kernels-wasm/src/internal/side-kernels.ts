/** Rows of `x` in a tile of the sparse kernel. */
export const SPARSE_ROWS = 8;

/** What the sides module exports. Rows, tiles, panels and output features are independent items of a job. */
export type SideKernel =
  /** `(x, rows, columns of x, order, factors, columns taken, out)` */
  | 'gatherColumns'
  /** `(x, rows, columns, factors, out)` */
  | 'scaleColumns'
  /** `(panels' address, t, out, rows, panels, width, features, stride)`: `out += t wᵀ` */
  | 'addNarrow'
  /** `(panels' address, t, out, panels, width, features)` */
  | 'addNarrowRow'
  /** `(x, rows, first tile, tiles, columns, out)` */
  | 'packColumns'
  /** `(row pointers, entries, tiles, out, rows, features, columns, stride)` */
  | 'addSparse'
  /** `(row pointers, entries, x, out, features)` */
  | 'addSparseRow';

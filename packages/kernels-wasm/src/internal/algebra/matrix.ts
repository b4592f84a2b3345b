/** A matrix in kernel memory: element `(i, j)` lies at `at + i * row + j * column`, in bytes. */
export interface Matrix {
  readonly at: number;
  readonly row: number;
  readonly column: number;
}

/** What lies at row `i` and column `j`, and after. */
export function part({ at, row, column }: Matrix, i: number, j: number): Matrix {
  return { at: at + i * row + j * column, row, column };
}

export function transposed({ at, row, column }: Matrix): Matrix {
  return { at, row: column, column: row };
}

/** The row-major matrix at an address, or with `transpose` its transpose. */
export function rowMajor(at: number, columns: number, bytes: number, transpose = false): Matrix {
  const matrix = { at, row: columns * bytes, column: bytes };
  return transpose ? transposed(matrix) : matrix;
}

import { HalftoneError } from '@halftone/tensor';

/** Throws `SHAPE` unless the array holds an `[n, n]` matrix. */
export function expectSquare(where: string, matrix: ArrayLike<number>, n: number): void {
  if (!Number.isSafeInteger(n) || n < 0 || matrix.length !== n * n) {
    throw new HalftoneError('SHAPE', `a matrix of ${matrix.length} elements is not [${n}, ${n}]`, {
      where,
      details: { length: matrix.length, size: n },
    });
  }
}

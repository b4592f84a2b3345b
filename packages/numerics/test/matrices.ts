import { createRandom } from '@halftone/numerics';

export type Matrix = Float64Array;

/** A product `X Xᵀ` of random normal numbers, plus `ridge` on the diagonal. */
export function randomPositiveDefinite(n: number, seed: number, ridge = 0.1): Matrix {
  const random = createRandom(seed);
  const x = Float64Array.from({ length: n * (n + 2) }, () => random.normal());
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let total = i === j ? ridge : 0;
      for (let k = 0; k < n + 2; k++) total += x[i * (n + 2) + k]! * x[j * (n + 2) + k]!;
      a[i * n + j] = total;
    }
  }
  return a;
}

export function multiply(a: Matrix, b: Matrix, n: number): Matrix {
  return Float64Array.from({ length: n * n }, (_, at) => {
    let total = 0;
    for (let k = 0; k < n; k++) total += a[Math.floor(at / n) * n + k]! * b[k * n + (at % n)]!;
    return total;
  });
}

export function transpose(a: Matrix, n: number): Matrix {
  return Float64Array.from({ length: n * n }, (_, at) => a[(at % n) * n + Math.floor(at / n)]!);
}

export function identity(n: number): Matrix {
  return Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** Gauss-Jordan elimination with pivoting: an inverse found in another way. */
export function gaussInverse(a: Matrix, n: number): Matrix {
  const left = Array.from({ length: n }, (_, i) => [
    ...a.subarray(i * n, i * n + n),
    ...identity(n).subarray(i * n, i * n + n),
  ]);
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c; r < n; r++) if (Math.abs(left[r]![c]!) > Math.abs(left[pivot]![c]!)) pivot = r;
    [left[c], left[pivot]] = [left[pivot]!, left[c]!];
    const scale = left[c]![c]!;
    left[c] = left[c]!.map((value) => value / scale);
    for (let r = 0; r < n; r++) {
      const factor = left[r]![c]!;
      if (r !== c) left[r] = left[r]!.map((value, j) => value - factor * left[c]![j]!);
    }
  }
  return Float64Array.from(left.flatMap((row) => row.slice(n)));
}

/**
 * Hadamard matrices of the orders that are not powers of two: entries 1 and -1, rows orthogonal. All are symmetric, so that
 * divided by the square root of the order they are their own inverses.
 */

/** 1 stands for "none": the size is a power of two. */
export type HadamardOrder = 1 | 12 | 20 | 28;

/** `size = order * 2^exponent`; undefined where there is no such order. */
export function hadamardFactors(
  size: number,
): { readonly order: HadamardOrder; readonly exponent: number } | undefined {
  for (const order of [1, 12, 20, 28] as const) {
    const exponent = Math.log2(size / order);
    if (exponent >= 0 && Number.isInteger(exponent)) return { order, exponent };
  }
  return undefined;
}

/**
 * `[order, order]`, row-major. Orders 12 and 20 are Paley's first construction with the rows of its core in reverse, order 28
 * is the second one (Paley, On orthogonal matrices, 1933).
 */
export function hadamardMatrix(order: HadamardOrder): Int8Array {
  if (order === 1) return Int8Array.of(1);
  return order === 28 ? paleySecond(13) : paleyFirst(order - 1);
}

/** First row and column 1; the entry `(i + 1, j + 1)` is 1 where `i + j` is a square other than 0 modulo the prime, else -1. */
function paleyFirst(prime: number): Int8Array {
  const order = prime + 1;
  const matrix = new Int8Array(order * order).fill(1);
  for (let i = 0; i < prime; i++) {
    for (let j = 0; j < prime; j++) matrix[(i + 1) * order + j + 1] = quadraticCharacter(i + j, prime) === 1 ? 1 : -1;
  }
  return matrix;
}

/** `C x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]]` (Kronecker products) with the conference matrix `C`. */
function paleySecond(prime: number): Int8Array {
  const half = prime + 1;
  const order = 2 * half;
  const conference = conferenceMatrix(prime);
  const matrix = new Int8Array(order * order);
  for (let i = 0; i < half; i++) {
    for (let j = 0; j < half; j++) {
      const c = conference[i * half + j];
      const at = 2 * i * order + 2 * j;
      const identity = Number(i === j);
      matrix[at] = c + identity;
      matrix[at + 1] = c - identity;
      matrix[at + order] = c - identity;
      matrix[at + order + 1] = -c - identity;
    }
  }
  return matrix;
}

/**
 * `[prime + 1, prime + 1]`: 0 on the diagonal, 1 in the rest of the first row and column, and the quadratic character of `i - j`
 * at `(i + 1, j + 1)`.
 */
export function conferenceMatrix(prime: number): Int8Array {
  const order = prime + 1;
  const matrix = new Int8Array(order * order).fill(1);
  matrix[0] = 0;
  for (let i = 0; i < prime; i++) {
    for (let j = 0; j < prime; j++) matrix[(i + 1) * order + j + 1] = quadraticCharacter(i - j, prime);
  }
  return matrix;
}

/** 0 for multiples of the prime, 1 for other squares modulo it, -1 for the rest. */
function quadraticCharacter(value: number, prime: number): -1 | 0 | 1 {
  const residue = ((value % prime) + prime) % prime;
  if (residue === 0) return 0;
  for (let root = 1; root < prime; root++) if ((root * root) % prime === residue) return 1;
  return -1;
}

import { HalftoneError } from '@halftone/tensor';
import { expectSquare } from './internal/square.js';

/**
 * The lower Cholesky factor: `A = L Lᵀ` for a symmetric positive definite `A`, `[n, n]` row-major.
 *
 * Reads the lower triangle only. The upper triangle of the result is 0. `out` may be `a` itself.
 * Throws `NUMERIC` with the failing pivot's index when `A` is not positive definite. Costs n³/3 multiplications; every
 * inner loop runs along rows.
 */
export function cholesky(a: Float64Array, n: number, out: Float64Array = new Float64Array(n * n)): Float64Array {
  expectSquare('cholesky', a, n);
  expectSquare('cholesky', out, n);
  for (let tile = 0; tile < n; tile += TILE) {
    const end = Math.min(tile + TILE, n);
    for (let j = 0; j < end; j++) {
      const pivotRow = j * n;
      for (let i = Math.max(j, tile); i < end; i++) {
        const row = i * n;
        const rest = (a[row + j] as number) - dot(out, row, pivotRow, j);
        out[row + j] = i === j ? Math.sqrt(expectPositive(rest, i, n)) : rest / (out[pivotRow + j] as number);
      }
    }
  }
  for (let i = 0; i < n; i++) out.fill(0, i * n + i + 1, i * n + n);
  return out;
}

/** Rows that are worked on together, so that every other row is fetched from memory once for all of them. */
const TILE = 32;

function expectPositive(pivot: number, index: number, n: number): number {
  if (pivot > 0 && pivot < Infinity) return pivot;
  const fix = 'add to the diagonal (more damping), or remove inputs that are constant or repeated';
  throw new HalftoneError('NUMERIC', `matrix is not positive definite: pivot ${index} is ${pivot}; ${fix}`, {
    where: 'cholesky',
    details: { pivot: index, value: pivot, size: n },
  });
}

/** Solves `A x = b` in place, given the lower Cholesky factor of `A`. Costs 2 n² flops. */
export function choleskySolve(l: Float64Array, n: number, b: Float64Array): Float64Array {
  solveLower(l, n, b);
  return solveLowerTransposed(l, n, b);
}

/** Solves `L x = b` in place by forward substitution. `l` is `[n, n]` row-major; its upper triangle is not read. */
export function solveLower(l: Float64Array, n: number, b: Float64Array): Float64Array {
  for (let i = 0; i < n; i++) {
    let sum = b[i] as number;
    for (let k = 0; k < i; k++) sum -= (l[i * n + k] as number) * (b[k] as number);
    b[i] = sum / (l[i * n + i] as number);
  }
  return b;
}

/** Solves `Lᵀ x = b` in place by back substitution, reading `L` along its rows. */
export function solveLowerTransposed(l: Float64Array, n: number, b: Float64Array): Float64Array {
  for (let i = n - 1; i >= 0; i--) {
    const x = (b[i] as number) / (l[i * n + i] as number);
    b[i] = x;
    for (let k = 0; k < i; k++) b[k] = (b[k] as number) - (l[i * n + k] as number) * x;
  }
  return b;
}

/** Solves `U x = b` in place by back substitution. `u` is `[n, n]` row-major; its lower triangle is not read. */
export function solveUpper(u: Float64Array, n: number, b: Float64Array): Float64Array {
  for (let i = n - 1; i >= 0; i--) {
    let sum = b[i] as number;
    for (let k = i + 1; k < n; k++) sum -= (u[i * n + k] as number) * (b[k] as number);
    b[i] = sum / (u[i * n + i] as number);
  }
  return b;
}

/** The inverse of a lower triangular matrix, `[n, n]` row-major, upper triangle 0. Costs n³/6 multiplications. */
export function invertLower(l: Float64Array, n: number): Float64Array {
  expectSquare('invertLower', l, n);
  const inverse = new Float64Array(n * n);
  for (let tile = 0; tile < n; tile += TILE) {
    const end = Math.min(tile + TILE, n);
    for (let k = 0; k < end; k++) {
      if (k >= tile) {
        const pivot = l[k * n + k] as number;
        for (let j = 0; j < k; j++) inverse[k * n + j] = (inverse[k * n + j] as number) / pivot;
        inverse[k * n + k] = 1 / pivot;
      }
      // Row i of the inverse is a combination of the rows above it.
      for (let i = Math.max(k + 1, tile); i < end; i++)
        addRow(inverse, i * n, -(l[i * n + k] as number), inverse, k * n, k + 1);
    }
  }
  return inverse;
}

/**
 * The inverse of a symmetric positive definite matrix through its Cholesky factor, both triangles filled and exactly
 * symmetric. Reads the lower triangle. Throws as `cholesky`. Costs about n³ flops.
 */
export function invertPositiveDefinite(a: Float64Array, n: number): Float64Array {
  const m = invertLower(cholesky(a, n), n);
  const inverse = new Float64Array(n * n);
  // A⁻¹ = Mᵀ M with M = L⁻¹: the sum over rows k of M of the outer products of that row with itself.
  for (let tile = 0; tile < n; tile += TILE) {
    for (let k = tile; k < n; k++) {
      for (let i = tile; i < Math.min(tile + TILE, k + 1); i++)
        addRow(inverse, i * n, m[k * n + i] as number, m, k * n, i + 1);
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) inverse[j * n + i] = inverse[i * n + j] as number;
  return inverse;
}

/** Product of two stretches of `m`. Four partial sums keep the processor's pipeline full. */
function dot(m: Float64Array, a: number, b: number, length: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 3 < length; k += 4) {
    s0 += (m[a + k] as number) * (m[b + k] as number);
    s1 += (m[a + k + 1] as number) * (m[b + k + 1] as number);
    s2 += (m[a + k + 2] as number) * (m[b + k + 2] as number);
    s3 += (m[a + k + 3] as number) * (m[b + k + 3] as number);
  }
  for (; k < length; k++) s0 += (m[a + k] as number) * (m[b + k] as number);
  return s0 + s1 + (s2 + s3);
}

/** Adds `factor` times a stretch of `from` to one of `into`. */
function addRow(
  into: Float64Array,
  at: number,
  factor: number,
  from: Float64Array,
  start: number,
  length: number,
): void {
  for (let j = 0; j < length; j++) into[at + j] = (into[at + j] as number) + factor * (from[start + j] as number);
}

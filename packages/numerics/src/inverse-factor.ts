/**
 * The factor that GPTQ and its relatives round with.
 * Source: Frantar et al., GPTQ, arXiv 2210.17323, algorithm 1 (`Cholesky(H⁻¹)ᵀ`).
 */
import { HalftoneError } from '@halftone/tensor';
import { cholesky, invertLower } from './cholesky.js';
import { expectSquare } from './internal/square.js';

export interface InverseFactorOptions {
  /** Added to the diagonal, as a share of its mean. Default 0.01, GPTQ's `percdamp`. */
  readonly damping?: number;
}

export const INVERSE_FACTOR_DEFAULTS = { damping: 0.01 } as const;

/**
 * The upper triangular `U` with `UᵀU = (H + damping * mean(diag H) * I)⁻¹`, for a symmetric positive semidefinite `H`
 * `[n, n]` row-major. `U[i, i]²` is entry `(i, i)` of the inverse once indices below `i` are eliminated, and row `i` divided
 * by `U[i, i]` says how the later columns make up for an error in column `i`.
 *
 * Found without forming the inverse: with the order of indices reversed, `H = L Lᵀ`, and `L⁻¹` reversed back is `U`.
 * That is more accurate than factoring an explicit inverse, and costs n³/2 multiplications instead of n³.
 * Does not change `h`. Throws `NUMERIC` for a negative or unusable diagonal and as `cholesky`, with the pivot counted in `h`.
 */
export function choleskyUpperOfInverse(h: Float64Array, n: number, options: InverseFactorOptions = {}): Float64Array {
  const { damping } = { ...INVERSE_FACTOR_DEFAULTS, ...options };
  expectSquare('choleskyUpperOfInverse', h, n);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i] as number;
  const added = n === 0 ? 0 : (damping * trace) / n;
  if (!(added >= 0 && added < Infinity)) {
    throw new HalftoneError(
      'NUMERIC',
      `damping ${damping} times mean diagonal ${trace / n} is not a number from 0 up`,
      {
        where: 'choleskyUpperOfInverse',
        details: { damping, trace, size: n },
      },
    );
  }
  const reversed = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) reversed[i * n + j] = h[(n - 1 - i) * n + (n - 1 - j)] as number;
    reversed[i * n + i] = (reversed[i * n + i] as number) + added;
  }
  return invertLower(factor(reversed, n), n).reverse();
}

function factor(reversed: Float64Array, n: number): Float64Array {
  try {
    return cholesky(reversed, n, reversed);
  } catch (error) {
    if (!(error instanceof HalftoneError) || error.code !== 'NUMERIC') throw error;
    const pivot = n - 1 - (error.details.pivot as number);
    throw new HalftoneError('NUMERIC', `H is not positive definite at index ${pivot}; raise damping`, {
      where: 'choleskyUpperOfInverse',
      details: { ...error.details, pivot },
      cause: error,
    });
  }
}

import { type Awaitable, HalftoneError } from '@halftone/tensor';
import type { FloatArray } from './operands.js';

/**
 * Adds `damping` times the mean of the diagonal to the diagonal, and reverses the order of rows and columns: with `H = L Lᵀ` in that
 * order, `L⁻¹` reversed back is the upper factor of the inverse. Throws `NUMERIC` when what is added is not a number from 0 up.
 */
export function dampReversed(h: FloatArray, n: number, damping: number): void {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += h[i * n + i];
  const added = (damping * trace) / n;
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
  h.reverse();
  for (let i = 0; i < n; i++) h[i * n + i] += added;
}

/** Runs what factors a reversed matrix; the pivot of its error is counted from the other end. */
export function withPivotsReversed(n: number, run: () => Awaitable<void>): Awaitable<void> {
  try {
    const pending = run();
    return pending?.catch((error: unknown) => {
      throw reversed(error, n);
    });
  } catch (error) {
    throw reversed(error, n);
  }
}

function reversed(error: unknown, n: number): unknown {
  if (!(error instanceof HalftoneError) || error.where !== 'cholesky') return error;
  const pivot = n - 1 - (error.details.pivot as number);
  return new HalftoneError('NUMERIC', `H is not positive definite at index ${pivot}; raise damping`, {
    where: 'choleskyUpperOfInverse',
    details: { ...error.details, pivot },
    cause: error,
  });
}

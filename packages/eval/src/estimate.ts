import { HalftoneError } from '@halftone/tensor';

/** A mean and how far it may be off. */
export interface Estimate {
  readonly mean: number;
  /** The larger of the two errors below: the one to print. */
  readonly standardError: number;
  /** Treats tokens as independent, as llama.cpp does. NaN for a single token. */
  readonly tokenStandardError: number;
  /**
   * Treats windows as independent and their tokens as dependent (cluster-robust). Tokens of one passage go wrong together,
   * so this is the honest error. NaN for a single window.
   */
  readonly windowStandardError: number;
}

/**
 * Mean of `values` with standard errors. `windowEnds[w]` is the index after the last value of window `w`.
 * `meanOfMeans` gives every window the same weight.
 */
export function estimateMean(
  values: ArrayLike<number>,
  windowEnds: ArrayLike<number>,
  reduce: 'tokenMean' | 'meanOfMeans' = 'tokenMean',
): Estimate {
  const tokens = values.length;
  const windows = windowEnds.length;
  if (windows === 0 || windowEnds[windows - 1] !== tokens) {
    throw new HalftoneError('SHAPE', `windowEnds must end at the number of values, ${tokens}`, {
      where: 'estimateMean',
    });
  }
  const shareOf = (sum: number, size: number): number => (reduce === 'tokenMean' ? sum : sum / size);
  const total = reduce === 'tokenMean' ? tokens : windows;
  let mean = 0;
  eachWindow(windowEnds, (start, end) => {
    let sum = 0;
    for (let i = start; i < end; i++) sum += values[i];
    mean += shareOf(sum, end - start);
  });
  mean /= total;
  let tokenVariance = 0;
  let windowVariance = 0;
  eachWindow(windowEnds, (start, end) => {
    const weight = shareOf(1, end - start) / total;
    let sum = 0;
    let squares = 0;
    for (let i = start; i < end; i++) {
      const deviation = (values[i] - mean) * weight;
      sum += deviation;
      squares += deviation * deviation;
    }
    tokenVariance += squares;
    windowVariance += sum * sum;
  });
  const tokenStandardError = tokens > 1 ? Math.sqrt((tokenVariance * tokens) / (tokens - 1)) : Number.NaN;
  const windowStandardError = windows > 1 ? Math.sqrt((windowVariance * windows) / (windows - 1)) : Number.NaN;
  return {
    mean,
    standardError: windows > 1 ? Math.max(tokenStandardError, windowStandardError) : tokenStandardError,
    tokenStandardError,
    windowStandardError,
  };
}

function eachWindow(windowEnds: ArrayLike<number>, visit: (start: number, end: number) => void): void {
  for (let w = 0; w < windowEnds.length; w++) visit(w === 0 ? 0 : windowEnds[w - 1], windowEnds[w]);
}

/** The `fraction` quantile of values sorted upward, with linear interpolation at `(n - 1) * fraction`. NaN for none. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  if (sorted.length === 0) return Number.NaN;
  const place = (sorted.length - 1) * fraction;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  const share = place - below;
  return share === 0 ? sorted[below] : sorted[below] * (1 - share) + sorted[above] * share;
}

import { estimateMean } from '../estimate.js';
import type { PerplexityResult } from '../perplexity.js';
import type { ResolvedProtocol } from '../protocols.js';
import type { Window } from '../windows.js';

/** Running count of scored tokens at the end of each window. */
export function scoredEnds(windows: readonly Window[]): number[] {
  let total = 0;
  return windows.map(({ score }) => {
    total += score.end - score.start;
    return total;
  });
}

/** Reduces the negative log-likelihoods of all scored tokens. */
export function perplexityResult(
  protocol: ResolvedProtocol,
  nlls: Float64Array,
  windowEnds: readonly number[],
): PerplexityResult {
  const estimate = estimateMean(nlls, windowEnds, protocol.reduce);
  const value = Math.exp(estimate.mean);
  return {
    protocol,
    windows: windowEnds.length,
    scoredTokens: nlls.length,
    meanNll: estimate.mean,
    perplexity: value,
    standardError: value * estimate.standardError,
    tokenStandardError: value * estimate.tokenStandardError,
    windowNlls: windowEnds.map((end, w) => {
      const start = w === 0 ? 0 : windowEnds[w - 1];
      return nlls.subarray(start, end).reduce((sum, nll) => sum + nll, 0) / (end - start);
    }),
  };
}

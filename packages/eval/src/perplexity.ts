import type { WorkOptions } from '@halftone/tensor';
import { eachRow } from './internal/each-row.js';
import { requireFiniteRow, rowSummary, summarizeRow } from './internal/log-softmax.js';
import { perplexityResult, scoredEnds } from './internal/reduce-nlls.js';
import type { LogitsModel } from './logits-model.js';
import { type Protocol, protocolWindows, type ResolvedProtocol, resolveProtocol } from './protocols.js';

export interface PerplexityOptions extends WorkOptions {
  /** Only the first so many windows. Default: all. */
  readonly maxWindows?: number;
}

export interface PerplexityResult {
  readonly protocol: ResolvedProtocol;
  readonly windows: number;
  readonly scoredTokens: number;
  /** Mean negative log-likelihood of a scored token, in nats. */
  readonly meanNll: number;
  /** `exp(meanNll)` */
  readonly perplexity: number;
  /** Of the perplexity: `perplexity` times the larger standard error of `meanNll`. */
  readonly standardError: number;
  /** Of the perplexity, with tokens taken as independent: what llama.cpp prints. */
  readonly tokenStandardError: number;
  /** Mean negative log-likelihood of each window. */
  readonly windowNlls: readonly number[];
}

/**
 * Perplexity of a token stream. The log-softmax is in float64.
 *
 * Throws `RANGE` for tokens outside the vocabulary or too few of them, `NUMERIC` (naming window and position) for logits with
 * NaN or infinity, `ABORTED`. Costs one forward pass a window and 8 bytes a scored token.
 */
export async function perplexity(
  model: LogitsModel,
  tokens: Int32Array,
  protocol: Protocol,
  options: PerplexityOptions = {},
): Promise<PerplexityResult> {
  const { signal, onProgress, maxWindows } = options;
  const resolved = resolveProtocol(protocol, model);
  const windows = protocolWindows(tokens, resolved, model, maxWindows);
  const windowEnds = scoredEnds(windows);
  const nlls = new Float64Array(windowEnds[windows.length - 1]);
  const summary = rowSummary();
  let scored = 0;
  for (let w = 0; w < windows.length; w++) {
    await eachRow([model], windows[w], signal, (position, token, [logits], [offset]) => {
      summarizeRow(logits, offset, model.vocabularySize, summary);
      requireFiniteRow(summary, 'the model', w, position);
      nlls[scored++] = summary.logSumExp - logits[offset + token];
    });
    onProgress?.({ stage: 'perplexity', done: w + 1, total: windows.length });
  }
  return perplexityResult(resolved, nlls, windowEnds);
}

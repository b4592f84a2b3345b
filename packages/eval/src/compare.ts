import { HalftoneError } from '@halftone/tensor';
import { type Estimate, estimateMean, quantile } from './estimate.js';
import { eachRow } from './internal/each-row.js';
import { divergeRow, requireFiniteRow, rowSummary, summarizeRow } from './internal/log-softmax.js';
import { perplexityResult, scoredEnds } from './internal/reduce-nlls.js';
import type { LogitsModel } from './logits-model.js';
import type { PerplexityOptions, PerplexityResult } from './perplexity.js';
import { type Protocol, protocolWindows, type ResolvedProtocol, resolveProtocol } from './protocols.js';

/** Kullback-Leibler divergence of the baseline's next-token distribution from the other model's, in nats a token. */
export interface KlReport extends Estimate {
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly max: number;
}

/** What a model lost against a baseline. The perplexity fields are the model's own. */
export interface Comparison extends PerplexityResult {
  readonly baseline: Pick<PerplexityResult, 'meanNll' | 'perplexity' | 'standardError'>;
  readonly kl: KlReport;
  /** Share of positions where both models find the same token most likely. */
  readonly sameTop1: number;
  readonly sameTop1StandardError: number;
  /** Mean of `ln(perplexity / baseline perplexity)`, paired by token: its error is far below that of either perplexity. */
  readonly lnPerplexityRatio: Estimate;
  /** Correlation of the two models' log-likelihoods over tokens. */
  readonly nllCorrelation: number;
  /** Change of the probability of the token in the text. */
  readonly deltaP: Estimate & { readonly rms: number };
}

/** Compares one model with a baseline. See `compareMany`. */
export async function compare(
  base: LogitsModel,
  other: LogitsModel,
  tokens: Int32Array,
  protocol: Protocol,
  options: PerplexityOptions = {},
): Promise<Comparison> {
  return (await compareMany(base, [other], tokens, protocol, options))[0];
}

/**
 * Compares several models with one baseline, which runs only once. All models run in lockstep and nothing of the size of the
 * vocabulary is kept: 24 bytes a scored token and model.
 *
 * The quantities are those of llama.cpp's `--kl-divergence`, but in float64 over the whole vocabulary, without its 16-bit storage
 * and its cut at log p = -16. The baseline's context and BOS settle the protocol.
 *
 * Throws `SHAPE` when the vocabularies differ in size or a model's context is shorter than the windows, else as `perplexity`.
 */
export async function compareMany(
  base: LogitsModel,
  others: readonly LogitsModel[],
  tokens: Int32Array,
  protocol: Protocol,
  options: PerplexityOptions = {},
): Promise<Comparison[]> {
  const { signal, onProgress, maxWindows } = options;
  const resolved = resolveProtocol(protocol, base);
  requireComparable(base, others, resolved);
  const windows = protocolWindows(tokens, resolved, base, maxWindows);
  const windowEnds = scoredEnds(windows);
  const count = windowEnds[windows.length - 1];
  const models = [base, ...others];
  const vocabularySize = base.vocabularySize;
  const nlls = models.map(() => new Float64Array(count));
  const divergences = others.map(() => new Float64Array(count));
  const agreements = others.map(() => new Float64Array(count));
  const exponentials = new Float64Array(vocabularySize);
  const baseRow = rowSummary();
  const otherRow = rowSummary();

  let scored = 0;
  for (let w = 0; w < windows.length; w++) {
    await eachRow(models, windows[w], signal, (position, token, logits, offsets) => {
      summarizeRow(logits[0], offsets[0], vocabularySize, baseRow, exponentials);
      requireFiniteRow(baseRow, 'the baseline', w, position);
      nlls[0][scored] = baseRow.logSumExp - logits[0][offsets[0] + token];
      for (let k = 1; k < models.length; k++) {
        divergences[k - 1][scored] = divergeRow(
          logits[0],
          offsets[0],
          baseRow,
          exponentials,
          logits[k],
          offsets[k],
          vocabularySize,
          otherRow,
        );
        requireFiniteRow(otherRow, models.length === 2 ? 'the model' : `model ${k - 1}`, w, position);
        nlls[k][scored] = otherRow.logSumExp - logits[k][offsets[k] + token];
        agreements[k - 1][scored] = otherRow.top === baseRow.top ? 1 : 0;
      }
      scored++;
    });
    onProgress?.({ stage: 'compare', done: w + 1, total: windows.length });
  }

  const { meanNll, perplexity, standardError } = perplexityResult(resolved, nlls[0], windowEnds);
  return others.map((_, k) => {
    const sameTop1 = estimateMean(agreements[k], windowEnds, resolved.reduce);
    return {
      ...perplexityResult(resolved, nlls[k + 1], windowEnds),
      baseline: { meanNll, perplexity, standardError },
      kl: klReport(divergences[k], windowEnds, resolved),
      sameTop1: sameTop1.mean,
      sameTop1StandardError: sameTop1.standardError,
      lnPerplexityRatio: estimateMean(
        nlls[k + 1].map((nll, i) => nll - nlls[0][i]),
        windowEnds,
        resolved.reduce,
      ),
      nllCorrelation: correlation(nlls[0], nlls[k + 1]),
      deltaP: deltaP(nlls[0], nlls[k + 1], windowEnds, resolved),
    };
  });
}

function requireComparable(base: LogitsModel, others: readonly LogitsModel[], protocol: ResolvedProtocol): void {
  others.forEach((other, model) => {
    if (other.vocabularySize !== base.vocabularySize) {
      throw new HalftoneError(
        'SHAPE',
        `model ${model} has ${other.vocabularySize} tokens and the baseline ${base.vocabularySize}; compare models of one vocabulary`,
        { where: 'compare', details: { model, vocabularySize: other.vocabularySize, baseline: base.vocabularySize } },
      );
    }
    if (other.contextLength < protocol.window) {
      throw new HalftoneError(
        'SHAPE',
        `model ${model} has a context of ${other.contextLength}, shorter than the window of ${protocol.window}; use a smaller window`,
        { where: 'compare', details: { model, contextLength: other.contextLength, window: protocol.window } },
      );
    }
  });
}

function klReport(divergences: Float64Array, windowEnds: readonly number[], protocol: ResolvedProtocol): KlReport {
  const sorted = divergences.slice().sort();
  return {
    ...estimateMean(divergences, windowEnds, protocol.reduce),
    min: sorted[0],
    p50: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    p95: quantile(sorted, 0.95),
    p99: quantile(sorted, 0.99),
    p99_9: quantile(sorted, 0.999),
    max: sorted[sorted.length - 1],
  };
}

function deltaP(
  base: Float64Array,
  other: Float64Array,
  windowEnds: readonly number[],
  protocol: ResolvedProtocol,
): Estimate & { rms: number } {
  const changes = other.map((nll, i) => Math.exp(-nll) - Math.exp(-base[i]));
  const meanSquare = estimateMean(
    changes.map((change) => change * change),
    windowEnds,
    protocol.reduce,
  ).mean;
  return { ...estimateMean(changes, windowEnds, protocol.reduce), rms: Math.sqrt(meanSquare) };
}

/** Pearson's. NaN when either side is constant. */
function correlation(a: Float64Array, b: Float64Array): number {
  const meanA = a.reduce((sum, value) => sum + value, 0) / a.length;
  const meanB = b.reduce((sum, value) => sum + value, 0) / b.length;
  let aa = 0;
  let ab = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] - meanA;
    const y = b[i] - meanB;
    aa += x * x;
    ab += x * y;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

import { HalftoneError } from '@halftone/tensor';
import { expNegative } from './exp.js';

/** What one row of logits gives, in float64. */
export interface RowSummary {
  logSumExp: number;
  /** Sum of `exp(logit - largest logit)`. */
  sum: number;
  /** Index of the largest logit, the first one of equals. */
  top: number;
}

export function rowSummary(): RowSummary {
  return { logSumExp: 0, sum: 0, top: 0 };
}

/** Summarises one row. `exponentials`, where given, receives `exp(logit - largest logit)`: the probabilities times `sum`. */
export function summarizeRow(
  logits: Float32Array,
  offset: number,
  vocabularySize: number,
  out: RowSummary,
  exponentials?: Float64Array,
): void {
  const top = argmax(logits, offset, vocabularySize);
  const max = logits[offset + top];
  let sum = 0;
  if (exponentials === undefined) {
    for (let i = 0; i < vocabularySize; i++) sum += expNegative(logits[offset + i] - max);
  } else {
    for (let i = 0; i < vocabularySize; i++) {
      const exponential = expNegative(logits[offset + i] - max);
      exponentials[i] = exponential;
      sum += exponential;
    }
  }
  out.top = top;
  out.sum = sum;
  out.logSumExp = max + Math.log(sum);
}

/**
 * Summarises one row `q` and returns the Kullback-Leibler divergence `sum p (log p - log q)` in nats, in the same pass over `q`.
 * Terms with `p = 0` are 0. Exactly 0 for equal rows.
 */
export function divergeRow(
  base: Float32Array,
  baseOffset: number,
  baseSummary: RowSummary,
  exponentials: Float64Array,
  logits: Float32Array,
  offset: number,
  vocabularySize: number,
  out: RowSummary,
): number {
  const top = argmax(logits, offset, vocabularySize);
  const max = logits[offset + top];
  let sum = 0;
  let cross = 0;
  for (let i = 0; i < vocabularySize; i++) {
    const logit = logits[offset + i];
    sum += expNegative(logit - max);
    const weight = exponentials[i];
    if (weight > 0) cross += weight * (base[baseOffset + i] - logit);
  }
  out.top = top;
  out.sum = sum;
  out.logSumExp = max + Math.log(sum);
  return cross / baseSummary.sum - (baseSummary.logSumExp - out.logSumExp);
}

function argmax(logits: Float32Array, offset: number, vocabularySize: number): number {
  let top = 0;
  let max = logits[offset];
  for (let i = 1; i < vocabularySize; i++) {
    const logit = logits[offset + i];
    if (logit > max) {
      max = logit;
      top = i;
    }
  }
  return top;
}

/** Throws `NUMERIC` when a row had a NaN or an infinite logit, or none above minus infinity. */
export function requireFiniteRow(summary: RowSummary, model: string, window: number, position: number): void {
  if (!Number.isFinite(summary.logSumExp)) {
    throw new HalftoneError(
      'NUMERIC',
      `window ${window}, position ${position}: the logits of ${model} hold NaN or infinity; check its weights`,
      { where: 'eval', details: { model, window, position } },
    );
  }
}

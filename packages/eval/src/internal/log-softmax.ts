import { HalftoneError } from '@halftone/tensor';

/** What one row of logits gives, in float64. */
export interface RowSummary {
  logSumExp: number;
  /** Index of the largest logit, the first one of equals. */
  top: number;
}

/** Summarises one row; `exponentials`, where given, receives `exp(logit - logSumExp)`, the probabilities. */
export function summarizeRow(
  logits: Float32Array,
  offset: number,
  vocabularySize: number,
  out: RowSummary,
  probabilities?: Float64Array,
): void {
  const top = argmax(logits, offset, vocabularySize);
  const max = logits[offset + top];
  let sum = 0;
  if (probabilities === undefined) {
    for (let i = 0; i < vocabularySize; i++) sum += Math.exp(logits[offset + i] - max);
  } else {
    for (let i = 0; i < vocabularySize; i++) {
      const exponential = Math.exp(logits[offset + i] - max);
      probabilities[i] = exponential;
      sum += exponential;
    }
    const scale = 1 / sum;
    for (let i = 0; i < vocabularySize; i++) probabilities[i] *= scale;
  }
  out.top = top;
  out.logSumExp = max + Math.log(sum);
}

/**
 * Summarises one row `q` and returns the Kullback-Leibler divergence `sum p (log p - log q)` in nats, in the same pass over `q`.
 * Terms with `p = 0` are 0. Exactly 0 for equal rows.
 */
export function divergeRow(
  base: Float32Array,
  baseOffset: number,
  probabilities: Float64Array,
  baseLogSumExp: number,
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
    sum += Math.exp(logit - max);
    const p = probabilities[i];
    if (p > 0) cross += p * (base[baseOffset + i] - logit);
  }
  out.top = top;
  out.logSumExp = max + Math.log(sum);
  return cross - (baseLogSumExp - out.logSumExp);
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

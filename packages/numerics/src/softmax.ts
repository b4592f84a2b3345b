/**
 * `log(sum(exp(x)))` in float64 without overflow. -Infinity for no values, or only -Infinity; NaN when a value is NaN.
 */
export function logSumExp(logits: ArrayLike<number>): number {
  const { largest, rest } = normalizer(logits);
  return largest + rest;
}

/**
 * Natural logarithms of the softmax probabilities, in float64. `out` may be `logits`.
 * All NaN when a value is NaN or Infinity, or when all are -Infinity.
 */
export function logSoftmax(
  logits: ArrayLike<number>,
  out: Float64Array = new Float64Array(logits.length),
): Float64Array {
  const { largest, rest } = normalizer(logits);
  // Subtracting the largest first is exact where it matters; the sum of both could lose `rest`.
  for (let i = 0; i < logits.length; i++) out[i] = (logits[i] as number) - largest - rest;
  return out;
}

/** Softmax probabilities in float64. `out` may be `logits`. NaN where `logSoftmax` gives NaN. */
export function softmax(logits: ArrayLike<number>, out: Float64Array = new Float64Array(logits.length)): Float64Array {
  logSoftmax(logits, out);
  for (let i = 0; i < logits.length; i++) out[i] = Math.exp(out[i] as number);
  return out;
}

/** `log(sum(exp(x)))` as the largest value and what must be added to it. */
function normalizer(logits: ArrayLike<number>): { largest: number; rest: number } {
  let largest = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (Number.isNaN(logit)) return { largest: NaN, rest: NaN };
    if (logit > largest) largest = logit;
  }
  if (Math.abs(largest) === Infinity) return { largest, rest: 0 };
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp((logits[i] as number) - largest);
  return { largest, rest: Math.log(total) };
}

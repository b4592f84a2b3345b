import { HalftoneError } from '@halftone/tensor';

/** How the next token is drawn. Steps apply in the order of the fields here, each to what the one before left. */
export interface SamplingOptions {
  /**
   * Divides positive logits of tokens seen before, multiplies negative ones (CTRL, arXiv 1909.05858). 1: off.
   */
  readonly repetitionPenalty?: number;
  /** Divides all logits. 0: the most probable token always, whatever the fields below say. */
  readonly temperature?: number;
  /** Keep this many most probable tokens. 0: off. */
  readonly topK?: number;
  /** Keep the fewest most probable tokens whose probabilities reach this sum (arXiv 1904.09751); always one. 1: off. */
  readonly topP?: number;
  /** Keep tokens of at least this fraction of the largest probability (arXiv 2407.01082). 0: off. */
  readonly minP?: number;
}

export const SAMPLING_DEFAULTS: Required<SamplingOptions> = {
  repetitionPenalty: 1,
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
};

/** Tokens that may be drawn, most probable first (equal ones by id), with probabilities that sum to 1. */
export interface TokenDistribution {
  readonly tokens: Int32Array;
  readonly probabilities: Float64Array;
}

const WHERE = 'sampling';

/** The token with the largest logit, the smallest id of equals. Throws `NUMERIC` for NaN or when no logit is finite. */
export function greedy(logits: ArrayLike<number>): number {
  let best = 0;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token];
    if (Number.isNaN(logit) || logit === Number.POSITIVE_INFINITY) throw notFinite(logit, token);
    if (logit > logits[best]) best = token;
  }
  if (!(logits[best] > Number.NEGATIVE_INFINITY)) throw noToken(logits.length);
  return best;
}

/** Natural logarithm of a token's probability under the plain softmax of the logits. */
export function logProbability(logits: ArrayLike<number>, token: number): number {
  const largest = logits[greedy(logits)];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  return logits[token] - largest - Math.log(sum);
}

/** A copy of the logits in which tokens of `previous` are less likely. Each counts once. */
export function penalizeRepetition(
  logits: ArrayLike<number>,
  previous: Iterable<number>,
  penalty: number,
): Float32Array {
  const penalized = Float32Array.from(logits);
  for (const token of new Set(previous)) {
    if (token >= 0 && token < penalized.length) {
      penalized[token] = penalized[token] > 0 ? penalized[token] / penalty : penalized[token] * penalty;
    }
  }
  return penalized;
}

/**
 * What `sampleToken` draws from. `previous` are the tokens for the repetition penalty.
 * Throws `RANGE` for options outside their range, `NUMERIC` for NaN, +Infinity, or when no logit is finite.
 * Cost: one sort of the vocabulary.
 */
export function tokenDistribution(
  logits: ArrayLike<number>,
  options: SamplingOptions = {},
  previous: Iterable<number> = [],
): TokenDistribution {
  return distribution(logits, samplingOptions(options), previous);
}

function distribution(
  logits: ArrayLike<number>,
  { repetitionPenalty, temperature, topK, topP, minP }: Required<SamplingOptions>,
  previous: Iterable<number>,
): TokenDistribution {
  const penalized = repetitionPenalty === 1 ? logits : penalizeRepetition(logits, previous, repetitionPenalty);
  const best = greedy(penalized);
  if (temperature === 0) return { tokens: Int32Array.of(best), probabilities: Float64Array.of(1) };

  const weights = new Float64Array(penalized.length);
  let total = 0;
  for (let token = 0; token < weights.length; token++) {
    weights[token] = Math.exp((penalized[token] - penalized[best]) / temperature);
    total += weights[token];
  }
  const order = Int32Array.from(weights, (_, token) => token).sort((a, b) => penalized[b] - penalized[a] || a - b);
  let count = topK > 0 ? Math.min(topK, order.length) : order.length;
  while (weights[order[count - 1]] === 0) count--;
  count = nucleusSize(order.subarray(0, count), weights, topP, count === order.length ? total : undefined);
  // The largest weight is 1, so weights are already fractions of it.
  while (weights[order[count - 1]] < minP) count--;

  const tokens = order.slice(0, count);
  const kept = tokens.reduce((sum, token) => sum + weights[token], 0);
  return { tokens, probabilities: Float64Array.from(tokens, (token) => weights[token] / kept) };
}

/** Draws a token. `random` gives numbers from 0 up to but not including 1; the same numbers give the same tokens. */
export function sampleToken(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  random: () => number,
  previous: Iterable<number> = [],
): number {
  return drawToken(logits, samplingOptions(options), random, previous);
}

/** `sampleToken` with options that were checked already. At temperature 0 without a penalty it makes nothing. */
export function drawToken(
  logits: ArrayLike<number>,
  options: Required<SamplingOptions>,
  random: () => number,
  previous: Iterable<number>,
): number {
  if (options.temperature === 0 && options.repetitionPenalty === 1) return greedy(logits);
  const { tokens, probabilities } = distribution(logits, options, previous);
  if (tokens.length === 1) return tokens[0];
  let rest = random();
  for (let i = 0; i < tokens.length; i++) {
    rest -= probabilities[i];
    if (rest < 0) return tokens[i];
  }
  // Rounding may leave a trace beyond the last.
  return tokens[tokens.length - 1];
}

function nucleusSize(order: Int32Array, weights: Float64Array, topP: number, known: number | undefined): number {
  if (topP === 1) return order.length;
  const total = known ?? order.reduce((sum, token) => sum + weights[token], 0);
  let sum = 0;
  for (let i = 0; i < order.length; i++) {
    sum += weights[order[i]];
    if (sum >= topP * total) return i + 1;
  }
  return order.length;
}

/** Fills in defaults. Throws `RANGE` naming the option that is outside its range. */
export function samplingOptions(options: SamplingOptions): Required<SamplingOptions> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const checked: Required<SamplingOptions> = { ...SAMPLING_DEFAULTS, ...Object.fromEntries(given) };
  const demand = (name: keyof SamplingOptions, holds: boolean, range: string) => {
    if (!holds) {
      throw new HalftoneError('RANGE', `${name} ${checked[name]} is not ${range}`, {
        where: WHERE,
        details: { [name]: checked[name] },
      });
    }
  };
  const fraction = (value: number) => value >= 0 && value <= 1;
  demand(
    'repetitionPenalty',
    checked.repetitionPenalty > 0 && checked.repetitionPenalty < Number.POSITIVE_INFINITY,
    'a number above 0',
  );
  demand(
    'temperature',
    checked.temperature >= 0 && checked.temperature < Number.POSITIVE_INFINITY,
    'a number from 0 up',
  );
  demand('topK', Number.isSafeInteger(checked.topK) && checked.topK >= 0, 'a whole number from 0 up');
  demand('topP', fraction(checked.topP), 'from 0 to 1');
  demand('minP', fraction(checked.minP), 'from 0 to 1');
  return checked;
}

function notFinite(logit: number, token: number): HalftoneError {
  return new HalftoneError(
    'NUMERIC',
    `the logit of token ${token} is ${logit}; the model's weights or input are broken`,
    {
      where: WHERE,
      details: { token, logit },
    },
  );
}

function noToken(size: number): HalftoneError {
  return new HalftoneError('NUMERIC', `none of ${size} logits is finite; there is no token to choose`, {
    where: WHERE,
    details: { size },
  });
}

import { HalftoneError } from '@halftone/tensor';
import { tokenRanking } from './internal/token-ranking.js';

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

/** A copy of the logits, in `out` or a new array, in which tokens of `previous` are less likely. Each counts once. */
export function penalizeRepetition(
  logits: ArrayLike<number>,
  previous: Iterable<number>,
  penalty: number,
  out = new Float32Array(logits.length),
): Float32Array {
  out.set(logits);
  for (const token of new Set(previous)) {
    if (token >= 0 && token < out.length) out[token] = out[token] > 0 ? out[token] / penalty : out[token] * penalty;
  }
  return out;
}

/**
 * What `sampleToken` draws from. `previous` are the tokens for the repetition penalty.
 * Throws `RANGE` for options outside their range, `NUMERIC` for NaN, +Infinity, or when no logit is finite.
 * Cost: an exponential for each token of the vocabulary, and ranking those that are kept.
 */
export function tokenDistribution(
  logits: ArrayLike<number>,
  options: SamplingOptions = {},
  previous: Iterable<number> = [],
): TokenDistribution {
  const checked = samplingOptions(options);
  const penalized = penalizer(checked)(logits, previous);
  if (checked.temperature === 0) {
    return { tokens: Int32Array.of(greedy(penalized)), probabilities: Float64Array.of(1) };
  }
  const candidates = tokenCandidates(checked);
  candidates.start(penalized);
  const tokens: number[] = [];
  for (let rank = 0; rank < candidates.count && candidates.weight(rank) > 0; rank++)
    tokens.push(candidates.token(rank));
  const probabilities = Float64Array.from(tokens, (_, rank) => candidates.weight(rank) / candidates.total);
  return { tokens: Int32Array.from(tokens), probabilities };
}

/** Draws a token. `random` gives numbers from 0 up to but not including 1; the same numbers give the same tokens. */
export function sampleToken(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  random: () => number,
  previous: Iterable<number> = [],
): number {
  return sampler(options, random)(logits, previous);
}

/**
 * `sampleToken` for many tokens: options are checked once, and buffers are kept. Ranks tokens only until one is drawn, which
 * is among the first in most cases.
 */
export function sampler(
  options: SamplingOptions,
  random: () => number,
): (logits: ArrayLike<number>, previous: Iterable<number>) => number {
  const checked = samplingOptions(options);
  const penalized = penalizer(checked);
  if (checked.temperature === 0) return (logits, previous) => greedy(penalized(logits, previous));
  const candidates = tokenCandidates(checked);
  return (logits, previous) => {
    candidates.start(penalized(logits, previous));
    let rest = random() * candidates.total;
    let token = candidates.token(0);
    for (let rank = 0; rank < candidates.count; rank++) {
      const weight = candidates.weight(rank);
      // Rounding may leave a trace beyond the last that can be drawn.
      if (weight === 0) break;
      token = candidates.token(rank);
      rest -= weight;
      if (rest < 0) break;
    }
    return token;
  };
}

/** The logits themselves, or a copy with the penalty, in a buffer that it keeps. */
function penalizer({ repetitionPenalty }: Required<SamplingOptions>) {
  let buffer = new Float32Array(0);
  return (logits: ArrayLike<number>, previous: Iterable<number>): ArrayLike<number> => {
    if (repetitionPenalty === 1) return logits;
    if (buffer.length !== logits.length) buffer = new Float32Array(logits.length);
    return penalizeRepetition(logits, previous, repetitionPenalty, buffer);
  };
}

/** Tokens that pass the filters, by rank. Weights are probabilities in units of the largest; their sum is `total`. */
interface TokenCandidates {
  start(logits: ArrayLike<number>): void;
  readonly count: number;
  readonly total: number;
  token(rank: number): number;
  weight(rank: number): number;
}

/** For temperatures above 0. Keeps its buffers. */
function tokenCandidates({ temperature, topK, topP, minP }: Required<SamplingOptions>): TokenCandidates {
  const ranking = tokenRanking();
  let weights = new Float64Array(0);
  let count = 0;
  let total = 0;
  const weight = (rank: number) => weights[ranking.token(rank)];

  /** Narrows `count` and `total` to what the filters leave: they cut the ranking at one place. */
  const filter = () => {
    if (topK > 0 && topK < count) {
      count = topK;
      let sum = 0;
      for (let rank = 0; rank < count; rank++) sum += weight(rank);
      total = sum;
    }
    if (topP === 1 && minP === 0) return;
    let sum = 0;
    for (let rank = 0; rank < count; rank++) {
      // The first has weight 1 and always passes.
      if (weight(rank) < minP || weight(rank) === 0) count = rank;
      else {
        sum += weight(rank);
        if (topP < 1 && sum >= topP * total) count = rank + 1;
      }
    }
    total = sum;
  };

  return {
    start(logits) {
      const largest = logits[greedy(logits)];
      if (weights.length !== logits.length) weights = new Float64Array(logits.length);
      total = exponentials(logits, largest, temperature, weights);
      count = weights.length;
      ranking.start(logits);
      filter();
    },
    get count() {
      return count;
    },
    get total() {
      return total;
    },
    token: ranking.token,
    weight,
  };
}

/** Writes the weights of all tokens in units of the largest, and returns their sum. */
function exponentials(logits: ArrayLike<number>, largest: number, temperature: number, weights: Float64Array): number {
  let sum = 0;
  for (let token = 0; token < weights.length; token++) {
    const weight = Math.exp((logits[token] - largest) / temperature);
    weights[token] = weight;
    sum += weight;
  }
  return sum;
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

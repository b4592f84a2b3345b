import { HalftoneError } from '@halftone/tensor';

/**
 * Where the beginning-of-sequence token goes: nowhere, once before the whole text, in place of the first token of each window,
 * or before the tokens of each window (taking one of its places).
 */
export type BosMode = 'none' | 'streamStart' | 'replaceFirst' | 'prepend';

export interface WindowOptions {
  /** Tokens of a window, BOS included. At least 2. */
  readonly window: number;
  /** Text tokens from the start of one window to the start of the next. Default: the text tokens of a window (disjoint). */
  readonly stride?: number;
  /** Default `none`. */
  readonly bos?: BosMode;
  readonly bosToken?: number;
  /**
   * Index in the window of the first token that is scored, from 1. `half` is `floor(window / 2) + 1`; `unseen` starts
   * where the window before ended. Default 1.
   */
  readonly scoreFrom?: number | 'half' | 'unseen';
  /** What becomes of the tokens after the last whole window. Default `drop`. */
  readonly remainder?: 'drop' | 'keep';
}

/** One run of the model: `input` is fed, and the tokens `input[score.start .. score.end)` are predicted and scored. */
export interface Window {
  readonly input: Int32Array;
  readonly score: { readonly start: number; readonly end: number };
}

const WHERE = 'windows';

/**
 * Cuts a token stream into the windows of an evaluation protocol. Inputs are views of `tokens` where BOS changes nothing.
 *
 * Windows in which nothing is scored are left out. Throws `RANGE` for options that cannot be.
 */
export function windows(tokens: Int32Array, options: WindowOptions): Window[] {
  const { window, bos = 'none', bosToken, scoreFrom = 1, remainder = 'drop' } = options;
  if (bos !== 'none' && bosToken === undefined) {
    throw new HalftoneError('RANGE', `bos is '${bos}' but there is no bosToken`, { where: WHERE, details: { bos } });
  }
  const extra = bos === 'prepend' ? 1 : 0;
  const textTokens = window - extra;
  const stride = options.stride ?? textTokens;
  const from = scoreFrom === 'half' ? Math.floor(window / 2) + 1 : scoreFrom === 'unseen' ? 1 : scoreFrom;
  requireInteger('window', window, 2, Number.MAX_SAFE_INTEGER);
  requireInteger('stride', stride, 1, Math.max(textTokens, 1));
  requireInteger('scoreFrom', from, 1, window - 1);

  const stream = bos === 'streamStart' && tokens[0] !== bosToken ? prepend(bosToken as number, tokens) : tokens;
  const result: Window[] = [];
  let scored = 0;
  for (let start = 0; start < stream.length; start += stride) {
    const end = Math.min(start + textTokens, stream.length);
    if (end - start < textTokens && remainder === 'drop') break;
    let input = stream.subarray(start, end);
    if (bos === 'prepend') input = prepend(bosToken as number, input);
    else if (bos === 'replaceFirst' && input[0] !== bosToken) {
      input = input.slice();
      input[0] = bosToken as number;
    }
    const first = scoreFrom === 'unseen' ? Math.max(1, scored - start + extra) : from;
    if (first < input.length) result.push({ input, score: { start: first, end: input.length } });
    scored = end;
    if (end === stream.length) break;
  }
  return result;
}

function prepend(token: number, tokens: Int32Array): Int32Array {
  const result = new Int32Array(tokens.length + 1);
  result[0] = token;
  result.set(tokens, 1);
  return result;
}

function requireInteger(name: string, value: number, low: number, high: number): void {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw new HalftoneError('RANGE', `${name} is ${value}; it must be a whole number from ${low} to ${high}`, {
      where: WHERE,
      details: { [name]: value, low, high },
    });
  }
}

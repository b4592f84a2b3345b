import { HalftoneError } from '@halftone/tensor';
import type { LogitsModel } from './logits-model.js';
import { type BosMode, type Window, type WindowOptions, windows } from './windows.js';

/** How a perplexity is measured. JSON. Numbers of different protocols must not be compared. */
export interface Protocol {
  readonly name: string;
  readonly description: string;
  /** Tokens of a window, clamped to the model's context; `context` is all of it. */
  readonly window: number | 'context';
  /** Default: disjoint windows. Clamped to the window. */
  readonly stride?: number;
  /** Takes effect only for models whose vocabulary adds BOS. */
  readonly bos: BosMode;
  readonly scoreFrom: number | 'half' | 'unseen';
  readonly remainder: 'drop' | 'keep';
  /** `tokenMean`: all scored tokens weigh the same. `meanOfMeans`: all windows weigh the same. */
  readonly reduce: 'tokenMean' | 'meanOfMeans';
}

/** Presets by name. Sources: IST-DASLab/gptq, llama.cpp `tools/perplexity`, the Hugging Face "fixed-length models" guide. */
export const PROTOCOLS = {
  disjoint: {
    name: 'disjoint',
    description:
      'disjoint windows of the whole context, no BOS, the first token of a window unscored, remainder dropped',
    window: 'context',
    bos: 'none',
    scoreFrom: 1,
    remainder: 'drop',
    reduce: 'tokenMean',
  },
  'gptq-2048': {
    name: 'gptq-2048',
    description: 'GPTQ, AWQ, SparseGPT: disjoint windows of 2048, BOS once before the text, mean of window means',
    window: 2048,
    bos: 'streamStart',
    scoreFrom: 1,
    remainder: 'drop',
    reduce: 'meanOfMeans',
  },
  'llama.cpp': {
    name: 'llama.cpp',
    description: 'llama-perplexity: windows of 512, BOS in place of their first token, only the second half scored',
    window: 512,
    bos: 'replaceFirst',
    scoreFrom: 'half',
    remainder: 'drop',
    reduce: 'tokenMean',
  },
  'sliding-512': {
    name: 'sliding-512',
    description: 'windows of the whole context that advance by 512 tokens; each token is scored once, remainder kept',
    window: 'context',
    stride: 512,
    bos: 'none',
    scoreFrom: 'unseen',
    remainder: 'keep',
    reduce: 'tokenMean',
  },
} as const satisfies Record<string, Protocol>;

/** A protocol with everything settled for one model: what was in fact done. Printed with every number. */
export interface ResolvedProtocol {
  readonly name: string;
  readonly window: number;
  readonly stride: number;
  readonly bos: BosMode;
  readonly scoreFrom: number | 'half' | 'unseen';
  readonly remainder: 'drop' | 'keep';
  readonly reduce: 'tokenMean' | 'meanOfMeans';
}

/** Settles window, stride and BOS of a protocol for a model. Throws `RANGE` when the model adds BOS but names none. */
export function resolveProtocol(
  protocol: Protocol,
  model: Pick<LogitsModel, 'contextLength' | 'addsBos' | 'bos'>,
): ResolvedProtocol {
  const { name, scoreFrom, remainder, reduce } = protocol;
  const window = protocol.window === 'context' ? model.contextLength : Math.min(protocol.window, model.contextLength);
  const bos = model.addsBos ? protocol.bos : 'none';
  if (bos !== 'none' && model.bos === undefined) {
    throw new HalftoneError('RANGE', `the model adds a BOS token but does not name it; set bos, or addsBos to false`, {
      where: 'protocol',
      details: { protocol: name },
    });
  }
  const textTokens = bos === 'prepend' ? window - 1 : window;
  return {
    name,
    window,
    stride: Math.min(protocol.stride ?? textTokens, textTokens),
    bos,
    scoreFrom,
    remainder,
    reduce,
  };
}

/**
 * The windows that a protocol cuts for a model, at most `maxWindows` of them.
 * Throws `RANGE` for a token outside the vocabulary and for a text too short for one window.
 */
export function protocolWindows(
  tokens: Int32Array,
  protocol: ResolvedProtocol,
  model: Pick<LogitsModel, 'vocabularySize' | 'bos'>,
  maxWindows: number = Number.POSITIVE_INFINITY,
): Window[] {
  if (!(maxWindows >= 1)) {
    throw new HalftoneError('RANGE', `maxWindows is ${maxWindows}; it must be at least 1`, { where: 'protocol' });
  }
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index];
    if (token < 0 || token >= model.vocabularySize) {
      throw new HalftoneError(
        'RANGE',
        `token ${token} at ${index} is outside the vocabulary of ${model.vocabularySize}; use the model's own tokenizer`,
        { where: 'protocol', details: { token, index, vocabularySize: model.vocabularySize } },
      );
    }
  }
  const { window, stride, bos, scoreFrom, remainder } = protocol;
  const options: WindowOptions = { window, stride, bos, bosToken: model.bos, scoreFrom, remainder };
  const all = windows(tokens, options);
  if (all.length === 0) {
    throw new HalftoneError(
      'RANGE',
      `the text has ${tokens.length} tokens, too few for one window of ${window}; use a longer text or a smaller window`,
      { where: 'protocol', details: { tokens: tokens.length, window } },
    );
  }
  return all.slice(0, maxWindows);
}

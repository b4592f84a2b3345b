import { readFile } from 'node:fs/promises';
import {
  type Comparison,
  checkpointBytes,
  compareMany,
  type PerplexityResult,
  PROTOCOLS,
  type Protocol,
  perplexity,
  transformerLogits,
} from '@halftone/eval';
import { HalftoneError } from '@halftone/tensor';
import { createModel, defaultBackend, type ModelSource, type Tokenizer } from '@halftone/transformer';
import type { CommandContext } from './context.js';
import { requireTokenizer } from './model-argument.js';

/** The figures of one model in an evaluation, in the words of the `--json` output. */
export interface EvaluationResult {
  readonly model: string;
  readonly protocol: PerplexityResult['protocol'];
  readonly windows: number;
  readonly scoredTokens: number;
  readonly meanNll: number;
  readonly perplexity: number;
  readonly perplexityStandardError: number;
  /** Of the whole evaluation, baseline and other candidates included. */
  readonly seconds: number;
  /** Tokens run through this model in that time. */
  readonly tokensPerSecond: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly baseline?: { readonly meanNll: number; readonly perplexity: number };
  readonly kl?: Pick<Comparison['kl'], 'mean' | 'standardError' | 'p50' | 'p99' | 'max'>;
  readonly sameTop1?: number;
  readonly sameTop1StandardError?: number;
}

export interface EvaluationRequest {
  readonly candidates: readonly { readonly name: string; readonly source: ModelSource }[];
  readonly baseline?: { readonly name: string; readonly source: ModelSource };
  readonly text: string;
  readonly protocol: Protocol;
  readonly maxWindows?: number;
}

/** Judges models on one text, in lockstep with the baseline where there is one. Closes nothing. */
export async function evaluate(request: EvaluationRequest, context: CommandContext): Promise<EvaluationResult[]> {
  const { candidates, baseline, protocol } = request;
  const sources = [...(baseline ? [baseline] : []), ...candidates];
  const tokenizers = sources.map(({ name, source }) => requireTokenizer(source, name));
  const tokens = sharedTokens(sources, tokenizers, request.text);
  const backend = defaultBackend();
  try {
    const models = [];
    for (const [index, { source }] of sources.entries()) {
      // Decoded weights and float activations: the figures show what the weights lost, not what a fast kernel rounds.
      const model = await createModel(source, { backend, precision: 'f32', signal: context.signal });
      models.push(transformerLogits(model, { addsBos: addsBos(source, tokenizers[index]) }));
    }
    const options = {
      maxWindows: request.maxWindows,
      signal: context.signal,
      onProgress: context.progress.report,
    };
    const start = performance.now();
    const results: (PerplexityResult | Comparison)[] = baseline
      ? await compareMany(models[0], models.slice(1), tokens, protocol, options)
      : await Promise.all(models.map((model) => perplexity(model, tokens, protocol, options)));
    const seconds = (performance.now() - start) / 1000;
    context.progress.stop();
    return results.map((result, index) =>
      toEvaluation(candidates[index].name, candidates[index].source, result, seconds),
    );
  } finally {
    await backend.dispose();
  }
}

/** Perplexities and divergences only compare when all models read the same tokens. */
function sharedTokens(
  sources: readonly { readonly name: string }[],
  tokenizers: readonly Tokenizer[],
  text: string,
): Int32Array {
  const [first, ...others] = tokenizers.map((tokenizer) => tokenizer.encode(text, { addSpecialTokens: false }));
  for (const [index, tokens] of others.entries()) {
    if (!sameTokens(first, tokens)) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `${sources[index + 1].name} and ${sources[0].name} split the text into different tokens; only models with one tokenizer can be compared`,
        { where: 'eval' },
      );
    }
  }
  return first;
}

/** Whether the model's tokenizer puts BOS before a text. */
function addsBos(source: ModelSource, tokenizer: Tokenizer): boolean {
  const [first] = tokenizer.encode('a');
  return first !== undefined && source.config.bosTokens.includes(first);
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((token, index) => token === b[index]);
}

function toEvaluation(
  model: string,
  source: ModelSource,
  result: PerplexityResult | Comparison,
  seconds: number,
): EvaluationResult {
  const account = checkpointBytes(source.checkpoint);
  return {
    model,
    protocol: result.protocol,
    windows: result.windows,
    scoredTokens: result.scoredTokens,
    meanNll: result.meanNll,
    perplexity: result.perplexity,
    perplexityStandardError: result.standardError,
    seconds,
    tokensPerSecond: (result.windows * result.protocol.window) / seconds,
    bytes: account.fileBytes,
    bitsPerWeight: account.bitsPerWeight,
    ...('kl' in result ? comparisonFields(result) : {}),
  };
}

function comparisonFields({ baseline, kl, sameTop1, sameTop1StandardError }: Comparison) {
  const { mean, standardError, p50, p99, max } = kl;
  return {
    baseline: { meanNll: baseline.meanNll, perplexity: baseline.perplexity },
    kl: { mean, standardError, p50, p99, max },
    sameTop1,
    sameTop1StandardError,
  };
}

/** A preset by name, with its window replaced where the caller asks for another. */
export function chooseProtocol(name: string, window: number | undefined): Protocol {
  if (!Object.hasOwn(PROTOCOLS, name)) {
    throw new HalftoneError('RANGE', `no protocol '${name}'; choose one of ${Object.keys(PROTOCOLS).join(', ')}`, {
      where: 'eval',
    });
  }
  const preset: Protocol = PROTOCOLS[name as keyof typeof PROTOCOLS];
  return window === undefined ? preset : { ...preset, window };
}

export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HalftoneError('IO', `cannot read the text '${path}': ${(cause as Error).message}`, {
      where: 'eval',
      cause,
    });
  }
}

import { createRandom } from '@halftone/numerics';
import { HalftoneError, type KvCache, throwIfAborted } from '@halftone/tensor';
import { nextPosition } from './internal/positions.js';
import type { ForwardOptions, TransformerModel } from './model.js';
import { logProbability, type SamplingOptions, sampler } from './sampling.js';
import { stopText } from './stop-text.js';
import type { Tokenizer } from './tokenizer.js';

/**
 * Why generation ended: the model's end token, one of `stopTokens` or `stopTexts`, `maxTokens`, or no room for another
 * token in the model's context.
 */
export type FinishReason = 'end' | 'stop' | 'length' | 'context';

export interface GenerateOptions {
  /**
   * Receives prompt and generated tokens; what it holds already comes before the prompt. Default: one of `model.createCache`,
   * which is disposed of at the end.
   */
  readonly cache?: KvCache;
  /** Default: as many as the context has room for. */
  readonly maxTokens?: number;
  /** Tokens that end generation. Default: the end tokens of the model's config. */
  readonly endTokens?: readonly number[];
  /** More tokens that end it. */
  readonly stopTokens?: readonly number[];
  /** Texts that end generation and are left out of the result. Needs `tokenizer`. */
  readonly stopTexts?: readonly string[];
  readonly sampling?: SamplingOptions;
  /** For sampling; the same seed gives the same tokens. Default 0. */
  readonly seed?: number;
  /** Adds `text` to each token. Special tokens give no text. */
  readonly tokenizer?: Tokenizer;
  /** Adds `logProbability` to each token, at the cost of an exponential for each token of the vocabulary. Default false. */
  readonly logProbabilities?: boolean;
  readonly signal?: AbortSignal;
}

export interface GeneratedToken {
  readonly token: number;
  /**
   * Natural logarithm of its probability in the model's own distribution, before temperature and filters. Set when
   * `logProbabilities` asks for it.
   */
  readonly logProbability?: number;
  /**
   * The text that is certain now: characters may wait for their last bytes, and text that could become a stop text for what
   * follows. All pieces joined are the result. Empty without a tokenizer.
   */
  readonly text: string;
  /** Set on the last token. An end or stop token is given as well, with what text was waiting. */
  readonly finishReason?: FinishReason;
}

export interface GeneratedText {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
}

/** The part of a model that generation uses. */
export type GeneratingModel = Pick<TransformerModel, 'config' | 'forward' | 'createCache'>;

const WHERE = 'generate';

/** Prompt tokens in one forward pass: bounds the memory of a long prompt. */
const PROMPT_CHUNK = 512;

/**
 * Continues a prompt, one token at a time.
 *
 * Throws `RANGE` for an empty prompt or one that leaves no room in the context, and what `tokenDistribution` throws. When
 * aborted, or left early with `break`, the cache holds whole tokens only and can be used further.
 */
export async function* generate(
  model: GeneratingModel,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { config } = model;
  const { tokenizer, signal, logProbabilities = false } = options;
  const sample = sampler(options.sampling ?? {}, createRandom(options.seed ?? 0).uniform);
  const cache = options.cache ?? model.createCache();
  try {
    const room = config.contextLength - nextPosition(cache) - prompt.length;
    checkRequest(prompt, room, options);
    const maxTokens = Math.min(options.maxTokens ?? room, room);
    const lengthReason = maxTokens === options.maxTokens ? 'length' : 'context';
    const ends = new Set(options.endTokens ?? config.eosTokens);
    const stops = new Set(options.stopTokens ?? []);
    const stream = tokenizer?.decodeStream({ skipSpecialTokens: true });
    const stopper = stopText(options.stopTexts ?? []);
    const sequence = Array.from(prompt);
    const last = new Int32Array(1);
    const pass = { cache, signal, from: 0, out: new Float32Array(config.vocabSize) };

    let pending = prompt;
    for (let made = 1; maxTokens > 0; made++) {
      const logits = await lastLogits(model, pending, pass);
      const token = sample(logits, sequence);
      sequence.push(token);
      const tokenReason = ends.has(token) ? 'end' : stops.has(token) ? 'stop' : undefined;
      // The text of a token that was asked to stop generation is not part of the result.
      const found = stopper.push(tokenReason || !stream ? '' : stream.push(token));
      let reason: FinishReason | undefined = tokenReason ?? (found.stopped ? 'stop' : undefined);
      if (!reason && made === maxTokens) reason = lengthReason;
      const rest = reason && !found.stopped ? endText(stopper, stream?.end() ?? '') : undefined;
      yield {
        token,
        logProbability: logProbabilities ? logProbability(logits, token) : undefined,
        text: rest === undefined ? found.text : found.text + rest.text,
        finishReason: rest?.stopped ? 'stop' : reason,
      };
      if (reason) return;
      last[0] = token;
      pending = last;
    }
  } finally {
    if (options.cache === undefined) cache.dispose?.();
  }
}

/** What every pass of one generation is given; `from` changes. */
interface GenerationPass extends ForwardOptions {
  readonly cache: KvCache;
  from: number;
}

/** Puts tokens into the cache, in chunks, and returns the logits after the last. On failure the cache holds whole chunks. */
async function lastLogits(
  model: GeneratingModel,
  tokens: ArrayLike<number>,
  pass: GenerationPass,
): Promise<Float32Array> {
  let logits = pass.out as Float32Array;
  for (let at = 0; at < tokens.length; at += PROMPT_CHUNK) {
    throwIfAborted(pass.signal, WHERE);
    const position = nextPosition(pass.cache);
    const chunk =
      tokens.length <= PROMPT_CHUNK ? tokens : (Array.prototype.slice.call(tokens, at, at + PROMPT_CHUNK) as number[]);
    pass.from = chunk.length - 1;
    try {
      logits = (await model.forward(chunk, pass)).data;
    } catch (error) {
      pass.cache.truncate(position);
      throw error;
    }
  }
  return logits;
}

/** `generate` to the end: the whole text at once. */
export async function generateText(
  model: GeneratingModel,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  options: Omit<GenerateOptions, 'tokenizer'> = {},
): Promise<GeneratedText> {
  const tokens: number[] = [];
  let text = '';
  let finishReason: FinishReason = 'length';
  const promptTokens = typeof prompt === 'string' ? tokenizer.encode(prompt) : prompt;
  for await (const next of generate(model, promptTokens, { ...options, tokenizer })) {
    tokens.push(next.token);
    text += next.text;
    finishReason = next.finishReason ?? finishReason;
  }
  return { text, tokens, finishReason };
}

function endText(stopper: ReturnType<typeof stopText>, last: string) {
  const found = stopper.push(last);
  return found.stopped ? found : { text: found.text + stopper.end(), stopped: false };
}

function checkRequest(prompt: ArrayLike<number>, room: number, options: GenerateOptions): void {
  const refuse = (message: string, details: Record<string, unknown>) => {
    throw new HalftoneError('RANGE', message, { where: WHERE, details });
  };
  const { maxTokens, stopTexts = [], tokenizer } = options;
  if (prompt.length === 0) refuse('the prompt has no tokens; give at least the BOS token', {});
  if (room < 1) {
    refuse(`the prompt of ${prompt.length} tokens leaves no room in the context; shorten it by ${1 - room} or more`, {
      tokens: prompt.length,
      room,
    });
  }
  if (maxTokens !== undefined && !(Number.isSafeInteger(maxTokens) && maxTokens >= 0)) {
    refuse(`maxTokens ${maxTokens} is not a whole number from 0 up`, { maxTokens });
  }
  if (stopTexts.length > 0 && !tokenizer) refuse('stopTexts need a tokenizer', {});
  if (stopTexts.includes('')) refuse('an empty stop text would stop at once; leave it out', {});
}

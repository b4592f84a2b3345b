import { HalftoneError, type KvCache } from '@halftone/tensor';
import type { TransformerModel } from '@halftone/transformer';
import type { LogitsModel } from './logits-model.js';

export interface TransformerLogitsOptions {
  /** Default: the first BOS token of the model's config. */
  readonly bos?: number;
  /** Whether the model's tokenizer puts BOS before a text: its own setting, not the config's. Default false. */
  readonly addsBos?: boolean;
  /** Makes the cache of a sequence, to measure what a cache policy loses. Default: attention without a cache. */
  readonly createCache?: () => KvCache;
  /** Most logits (4 bytes each) that are held at once, at least one row. Default 2^22. */
  readonly maxBlockLogits?: number;
}

/**
 * A transformer as a `LogitsModel`. The blocks run over the whole sequence at once; the head runs on a few rows at a time.
 *
 * The blocks of logits share one buffer. Two of these may stand on the same transformer and be compared with each other.
 */
export function transformerLogits(
  model: Pick<TransformerModel, 'config' | 'embed' | 'block' | 'head'>,
  options: TransformerLogitsOptions = {},
): LogitsModel {
  const { vocabSize, contextLength, layers, hiddenSize, bosTokens } = model.config;
  const { bos = bosTokens[0], addsBos = false, createCache, maxBlockLogits = 2 ** 22 } = options;
  const blockRows = Math.max(1, Math.floor(maxBlockLogits / vocabSize));
  let buffer = new Float32Array(0);
  return {
    vocabularySize: vocabSize,
    contextLength,
    bos,
    addsBos,
    async *logits(tokens, from, { signal } = {}) {
      if (!Number.isInteger(from) || from < 0 || from > tokens.length) {
        throw new HalftoneError('RANGE', `cannot give logits from token ${from} of ${tokens.length}`, {
          where: 'transformerLogits',
          details: { from, tokens: tokens.length },
        });
      }
      const positions = Int32Array.from(tokens, (_, i) => i);
      const hidden = model.embed(tokens, positions);
      const cache = createCache?.();
      for (let layer = 0; layer < layers; layer++) await model.block(layer, hidden, { positions, cache, signal });
      const size = Math.min(blockRows, tokens.length - from) * vocabSize;
      if (buffer.length < size) buffer = new Float32Array(size);
      const out = buffer;
      for (let start = from; start < tokens.length; start += blockRows) {
        const rows = Math.min(blockRows, tokens.length - start);
        const logits = await model.head(hidden.subarray(start * hiddenSize), rows, { out });
        yield { start, rows, logits };
      }
    },
  };
}

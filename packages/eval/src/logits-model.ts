import type { ReadOptions } from '@halftone/tensor';

/** Some rows of a model's output. The array is only valid until the next block is asked for. */
export interface LogitsBlock {
  /** Position in the input of the first row. Row `i` predicts the token at `start + i + 1`. */
  readonly start: number;
  readonly rows: number;
  /** `[rows, vocabularySize]` row-major, unnormalised log-probabilities. */
  readonly logits: Float32Array;
}

/** What an evaluation needs of a language model. */
export interface LogitsModel {
  readonly vocabularySize: number;
  /** Most tokens of one input. */
  readonly contextLength: number;
  readonly bos?: number;
  /** Whether the model's tokenizer puts BOS before a text. Default false. */
  readonly addsBos?: boolean;
  /**
   * Runs one sequence from an empty state and streams the rows of the positions `from .. tokens.length - 1`, in order,
   * a block at a time, so that `[tokens, vocabulary]` never stands in memory at once.
   */
  logits(tokens: Int32Array, from: number, options?: ReadOptions): AsyncIterable<LogitsBlock>;
}

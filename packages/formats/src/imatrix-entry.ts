import { HalftoneError } from '@halftone/tensor';

/** An importance matrix: sums of squared inputs for each weight of a model, as llama.cpp's `llama-imatrix` collects them. */
export interface Imatrix {
  /** Names of the texts it was computed from. */
  readonly datasets: readonly string[];
  /** Chunks of text that were read; undefined where the file does not say. */
  readonly chunkCount?: number;
  /** Tokens in a chunk; `.dat` files do not say. */
  readonly chunkSize?: number;
  /** By the weight's name in GGUF (`blk.0.attn_q.weight`), in file order. */
  readonly entries: ReadonlyMap<string, ImatrixEntry>;
}

export interface ImatrixEntry {
  /** Sums of x² over what was counted, `[experts, in]` row-major. Finite, not negative. */
  readonly sums: Float32Array;
  /**
   * What the sums ran over, one count for each expert, or one for all. GGUF files count tokens; `.dat` files chunks. An expert
   * that never ran has 0.
   */
  readonly counts: Float64Array;
  /** Sums of x, shaped like `sums`. Newer GGUF files have them. */
  readonly inputSums?: Float32Array;
}

/**
 * Means of x², `[experts, in]`: what `llama-quantize` weighs errors with. Ones for an expert that never ran, as there.
 * Every mean is one division in float32. Source: llama.cpp, tools/quantize/quantize.cpp (load_imatrix).
 */
export function imatrixMeans(entry: ImatrixEntry): Float32Array {
  const { sums, counts } = entry;
  const columns = sums.length / counts.length;
  return sums.map((sum, i) => {
    const count = counts[Math.floor(i / columns)] as number;
    return count > 0 ? sum / Math.fround(count) : 1;
  });
}

/** Throws `FORMAT` unless sizes agree and every number is one that sums of squares and counts can have. */
export function checkImatrixEntry(name: string, { sums, counts, inputSums }: ImatrixEntry): void {
  const fail = (problem: string): never => {
    throw new HalftoneError('FORMAT', `${name}: ${problem}; compute the importance matrix again`, {
      where: 'imatrix',
      details: { name },
    });
  };
  if (name === '') fail('an entry of the importance matrix has no name');
  if (sums.length === 0) fail('its importances are empty');
  if (counts.length === 0 || sums.length % counts.length !== 0)
    fail(`${sums.length} sums do not divide among ${counts.length} counts`);
  if (inputSums !== undefined && inputSums.length !== sums.length)
    fail(`${inputSums.length} sums of inputs but ${sums.length} sums of squares`);
  const wrongSum = sums.findIndex((sum) => !(sum >= 0 && sum < Number.POSITIVE_INFINITY));
  if (wrongSum >= 0) fail(`sum ${wrongSum} is ${sums[wrongSum]}, expected a finite number from 0 up`);
  const wrongInput = inputSums?.findIndex((sum) => !Number.isFinite(sum)) ?? -1;
  if (wrongInput >= 0) fail(`the sum of input ${wrongInput} is ${inputSums?.[wrongInput]}`);
  const wrongCount = counts.find((count) => !Number.isSafeInteger(count) || count < 0);
  if (wrongCount !== undefined) fail(`a count is ${wrongCount}, expected a whole number from 0 up`);
}

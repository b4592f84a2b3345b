import type { LogitsModel } from '@halftone/eval';

/** A language model given by its logits as a function of the tokens so far. Streams blocks of `blockRows` rows from one buffer. */
export function fakeModel(
  vocabularySize: number,
  row: (prefix: Int32Array, out: Float32Array) => void,
  options: Partial<Pick<LogitsModel, 'contextLength' | 'bos' | 'addsBos'>> & { blockRows?: number } = {},
): LogitsModel & { readonly inputs: number[][] } {
  const { blockRows = 3, contextLength = 64, ...rest } = options;
  const inputs: number[][] = [];
  return {
    vocabularySize,
    contextLength,
    ...rest,
    inputs,
    async *logits(tokens, from) {
      inputs.push([...tokens]);
      const logits = new Float32Array(blockRows * vocabularySize);
      for (let start = from; start < tokens.length; start += blockRows) {
        const rows = Math.min(blockRows, tokens.length - start);
        for (let i = 0; i < rows; i++) {
          row(tokens.subarray(0, start + i + 1), logits.subarray(i * vocabularySize, (i + 1) * vocabularySize));
        }
        yield { start, rows, logits };
      }
    },
  };
}

export function unigram(probabilities: readonly number[], options: Parameters<typeof fakeModel>[2] = {}) {
  return fakeModel(probabilities.length, (_, out) => out.set(probabilities.map(Math.log)), options);
}

export function uniform(vocabularySize: number, options: Parameters<typeof fakeModel>[2] = {}) {
  return fakeModel(vocabularySize, (_, out) => out.fill(-3.25), options);
}

/** Gives the previous token the probability `p` and shares the rest evenly. */
export function copyPrevious(vocabularySize: number, p: number, options: Parameters<typeof fakeModel>[2] = {}) {
  return fakeModel(
    vocabularySize,
    (prefix, out) => {
      out.fill(Math.log((1 - p) / (vocabularySize - 1)));
      out[prefix[prefix.length - 1]] = Math.log(p);
    },
    options,
  );
}

export function counting(count: number, vocabularySize: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i % vocabularySize);
}

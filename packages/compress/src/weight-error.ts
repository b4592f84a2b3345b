/** How far a tensor's stored values are from the original ones. */
export interface WeightError {
  /** `‖W − Ŵ‖ / ‖W‖` over all elements; 0 for an all-zero tensor stored exactly. */
  readonly relativeError: number;
  /** The same with each column weighted by the mean square of its input, where that was collected. */
  readonly weightedRelativeError?: number;
  readonly maxAbsoluteError: number;
}

export interface WeightErrorMeter {
  /** Both hold rows of `columns` values. */
  add(original: Float32Array, stored: Float32Array): void;
  result(): WeightError;
}

/** Accumulates in float64 over any number of row ranges. */
export function weightErrorMeter(columns: number, columnWeights?: ArrayLike<number>): WeightErrorMeter {
  let error = 0;
  let norm = 0;
  let weightedError = 0;
  let weightedNorm = 0;
  let maximum = 0;

  function add(original: Float32Array, stored: Float32Array): void {
    for (let i = 0; i < original.length; i++) {
      const w = original[i] as number;
      const difference = w - (stored[i] as number);
      error += difference * difference;
      norm += w * w;
      const magnitude = Math.abs(difference);
      if (magnitude > maximum) maximum = magnitude;
    }
    if (columnWeights) addWeighted(original, stored, columnWeights);
  }

  function addWeighted(original: Float32Array, stored: Float32Array, weights: ArrayLike<number>): void {
    for (let from = 0; from < original.length; from += columns) {
      for (let column = 0; column < columns; column++) {
        const w = original[from + column] as number;
        const difference = w - (stored[from + column] as number);
        weightedError += (weights[column] as number) * difference * difference;
        weightedNorm += (weights[column] as number) * w * w;
      }
    }
  }

  return {
    add,
    result: () => ({
      relativeError: ratio(error, norm),
      ...(columnWeights ? { weightedRelativeError: ratio(weightedError, weightedNorm) } : {}),
      maxAbsoluteError: maximum,
    }),
  };
}

function ratio(error: number, norm: number): number {
  return error === 0 ? 0 : Math.sqrt(error / norm);
}

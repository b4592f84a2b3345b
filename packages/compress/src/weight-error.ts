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
  const plain: Sums = { error: 0, norm: 0, maximum: 0 };
  const weighted: Sums = { error: 0, norm: 0, maximum: 0 };
  return {
    add(original, stored) {
      addErrors(plain, original, stored);
      if (columnWeights) addWeightedErrors(weighted, original, stored, columns, columnWeights);
    },
    result: () => ({
      relativeError: ratio(plain.error, plain.norm),
      ...(columnWeights ? { weightedRelativeError: ratio(weighted.error, weighted.norm) } : {}),
      maxAbsoluteError: plain.maximum,
    }),
  };
}

interface Sums {
  error: number;
  norm: number;
  maximum: number;
}

// Sums are local to the loops: fields and captured variables would be written to memory at every step.

function addErrors(sums: Sums, original: Float32Array, stored: Float32Array): void {
  let { error, norm, maximum } = sums;
  for (let i = 0; i < original.length; i++) {
    const w = original[i];
    const difference = w - stored[i];
    error += difference * difference;
    norm += w * w;
    maximum = Math.max(maximum, Math.abs(difference));
  }
  sums.error = error;
  sums.norm = norm;
  sums.maximum = maximum;
}

function addWeightedErrors(
  sums: Sums,
  original: Float32Array,
  stored: Float32Array,
  columns: number,
  weights: ArrayLike<number>,
): void {
  let { error, norm } = sums;
  for (let from = 0; from < original.length; from += columns) {
    for (let column = 0; column < columns; column++) {
      const w = original[from + column];
      const difference = w - stored[from + column];
      error += weights[column] * difference * difference;
      norm += weights[column] * w * w;
    }
  }
  sums.error = error;
  sums.norm = norm;
}

function ratio(error: number, norm: number): number {
  return error === 0 ? 0 : Math.sqrt(error / norm);
}

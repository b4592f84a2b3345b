/** Compensated summation. Source: Neumaier 1974, the improved Kahan-Babuška algorithm. */

export interface RunningSum {
  add(value: number): void;
  readonly total: number;
}

/** A running sum whose error does not grow with the number of terms (to first order). */
export function createSum(): RunningSum {
  let sum = 0;
  let compensation = 0;
  return {
    add(value) {
      const next = sum + value;
      // The smaller of the two loses its low bits; a sum that overflowed has none worth keeping.
      if (Math.abs(next) !== Infinity) {
        compensation += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
      }
      sum = next;
    },
    get total() {
      return sum + compensation;
    },
  };
}

/** The compensated sum of all values; 0 of none. */
export function sum(values: ArrayLike<number>): number {
  const running = createSum();
  for (let i = 0; i < values.length; i++) running.add(values[i] as number);
  return running.total;
}

import type { StatName } from '@halftone/tensor';
import type { AffineRule } from './affine-rule.js';

/** Chooses the range of values that a group's grid spans. */
export interface RangeFit {
  readonly name: string;
  readonly needs: readonly StatName[];
  /**
   * Writes `[min, max]` to `range` for `values[start .. end)`. `importance[column]` belongs to `values[start]`;
   * it is the mean square of the input channel where the fit needs it.
   */
  fit(
    values: Float32Array,
    start: number,
    end: number,
    importance: Float64Array | undefined,
    column: number,
    rule: AffineRule,
    range: Float64Array,
  ): void;
}

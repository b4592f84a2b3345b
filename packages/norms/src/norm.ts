/** What LayerNorm and RMSNorm keep: a factor, and for LayerNorm a constant, for each feature. */
export interface NormParameters {
  /** `[features]` */
  readonly gain: Float32Array;
  /** `[features]`, added last; zero where absent. */
  readonly bias?: Float32Array;
  /** Added to the variance (or mean square) before the square root. */
  readonly epsilon: number;
}

/**
 * A normalisation layer as a plain object. Rows are independent of each other.
 *
 * `gain` and `bias` act last, after the statistics: that is what lets `planGainFold` move them into the readers.
 */
export interface Norm<Parameters extends NormParameters = NormParameters> {
  readonly name: string;
  /** `x` and `out` hold `rows` rows of `features` values, row-major; `out` may be `x`. */
  forward(x: Float32Array, rows: number, features: number, parameters: Parameters, out: Float32Array): void;
}

import { HalftoneError } from '@halftone/tensor';

/** Throws `SHAPE` unless `x` and `out` hold `rows * features` values and the parameters `features`. */
export function checkNormSizes(
  where: string,
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  bias: Float32Array | undefined,
  out: Float32Array,
): void {
  const count = rows * features;
  if (!Number.isSafeInteger(rows) || rows < 0 || !Number.isSafeInteger(features) || features < 1) {
    throw new HalftoneError(
      'SHAPE',
      `rows is ${rows} and features is ${features}; they must be whole numbers, features from 1`,
      {
        where,
        details: { rows, features },
      },
    );
  }
  if (x.length < count || out.length < count) {
    throw new HalftoneError(
      'SHAPE',
      `${rows} rows of ${features} features need ${count} values but x has ${x.length} and out ${out.length}`,
      { where, details: { rows, features, x: x.length, out: out.length } },
    );
  }
  if (gain.length !== features || (bias !== undefined && bias.length !== features)) {
    throw new HalftoneError(
      'SHAPE',
      `gain has ${gain.length} values${bias === undefined ? '' : ` and bias ${bias.length}`} for ${features} features`,
      { where, details: { features, gain: gain.length, bias: bias?.length } },
    );
  }
}

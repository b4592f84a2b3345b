import { HalftoneError } from '@halftone/tensor';

/**
 * The value below which a fraction of the values lies, with linear interpolation at index `(n - 1) * fraction` of the
 * sorted values (numpy's default, type 7 of Hyndman and Fan 1996). Sorts a copy: n log n.
 * Throws `RANGE` for no values or a fraction outside 0 .. 1, `NUMERIC` for NaN.
 */
export function quantile(values: ArrayLike<number>, fraction: number): number {
  return quantiles(values, [fraction])[0] as number;
}

/** Several quantiles from one sort. */
export function quantiles(values: ArrayLike<number>, fractions: readonly number[]): number[] {
  if (values.length === 0) throw new HalftoneError('RANGE', 'no values have no quantiles', { where: 'quantile' });
  const sorted = Float64Array.from(values).sort();
  // NaN sorts last.
  if (Number.isNaN(sorted[sorted.length - 1])) {
    throw new HalftoneError('NUMERIC', 'the values contain NaN; remove them first', { where: 'quantile' });
  }
  return fractions.map((fraction) => {
    if (!(fraction >= 0 && fraction <= 1)) {
      throw new HalftoneError('RANGE', `fraction ${fraction} is not in 0 .. 1`, {
        where: 'quantile',
        details: { fraction },
      });
    }
    const index = (sorted.length - 1) * fraction;
    const below = sorted[Math.floor(index)] as number;
    const above = sorted[Math.ceil(index)] as number;
    return below === above ? below : below + (above - below) * (index % 1);
  });
}

import type { RangeFit } from './range-fit.js';

/** The smallest and the largest value: nothing is clipped. One pass. */
export function minMax(): RangeFit {
  return { name: 'min-max', needs: [], fit: fitMinMax };
}

export function fitMinMax(
  values: Float32Array,
  start: number,
  end: number,
  _importance: Float64Array | undefined,
  _column: number,
  _rule: unknown,
  range: Float64Array,
): void {
  let min = Infinity;
  let max = -Infinity;
  for (let i = start; i < end; i++) {
    const value = values[i];
    if (value < min) min = value;
    if (value > max) max = value;
  }
  range[0] = min;
  range[1] = max;
}

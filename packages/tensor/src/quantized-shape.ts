import type { Granularity, QuantizedTensor } from './quantized.js';
import type { Shape } from './types.js';

/** Consecutive indices along an axis of length `n` that share a parameter. */
export function groupSize(granularity: Granularity, axis: number, n: number): number {
  if (granularity.type === 'block') return axis === 0 ? granularity.rows : granularity.columns;
  if (granularity.type === 'group') return axis === granularity.axis ? granularity.size : 1;
  return granularity.type === 'axis' && axis === granularity.axis ? 1 : Math.max(n, 1);
}

/** Shape of scales, zeros and offsets, with dimensions of 1 for the axes that do not choose. */
export function parameterShape(shape: Shape, granularity: Granularity): number[] {
  return shape.map((n, axis) => Math.ceil(n / groupSize(granularity, axis, n)));
}

/** Shape of the codes: the tensor's own; of vectors shorter along the last axis; with a leading axis for several stages. */
export function codesShape({ shape, scheme: { grid } }: QuantizedTensor): Shape {
  if (grid.type !== 'lookup') return shape;
  const vectors = shape.map((n, axis) => (axis === shape.length - 1 ? n / grid.vectorLength : n));
  return grid.stages > 1 ? [grid.stages, ...vectors] : vectors;
}

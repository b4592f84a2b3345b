import { HalftoneError } from './error.js';
import type { Shape } from './types.js';

/**
 * Number of elements of a shape; 1 for a scalar.
 * Throws `SHAPE` for a negative or fractional dimension and when the product exceeds 2^53 - 1.
 */
export function elementCount(shape: Shape, where = 'tensor'): number {
  let count = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new HalftoneError('SHAPE', `shape [${shape}] has a dimension that is not a whole number from 0 up`, {
        where,
        details: { shape },
      });
    }
    count *= dimension;
  }
  if (!Number.isSafeInteger(count)) {
    throw new HalftoneError('SHAPE', `shape [${shape}] has more than 2^53 - 1 elements`, { where, details: { shape } });
  }
  return count;
}

/** Strides, in elements, of a contiguous row-major tensor. */
export function rowMajorStride(shape: Shape): number[] {
  const stride = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    stride[axis] = step;
    step *= shape[axis] as number;
  }
  return stride;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

import { fail } from './error.js';
import type { Shape } from './types.js';

/**
 * Number of elements of a shape; 1 for a scalar.
 * Throws `SHAPE` for a negative or fractional dimension and when the product exceeds 2^50, so that bytes can be counted.
 */
export function elementCount(shape: Shape, where = 'tensor'): number {
  let count = 1;
  for (const dimension of shape) {
    count *= Number.isSafeInteger(dimension) && dimension >= 0 ? dimension : NaN;
  }
  if (!(count <= 2 ** 50)) {
    fail('SHAPE', where, `shape [${shape}] needs whole dimensions, 2^50 elements at most`, { shape });
  }
  return count;
}

/** Length of the last axis; 1 for a scalar. */
export function columnCount(shape: Shape): number {
  return shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
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

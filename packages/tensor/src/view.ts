import { HalftoneError } from './error.js';
import { elementCount, rowMajorStride } from './shape.js';
import type { NativeArray, Shape, Tensor } from './types.js';

/** Wraps a typed array as a contiguous row-major tensor, without copying. Throws `SHAPE` when the sizes differ. */
export function tensor<D extends NativeArray>(data: D, shape: Shape = [data.length]): Tensor<D> {
  const count = elementCount(shape);
  if (count !== data.length) {
    throw new HalftoneError('SHAPE', `shape [${shape}] has ${count} elements but the data has ${data.length}`, {
      where: 'tensor',
      details: { shape, length: data.length },
    });
  }
  return { data, shape: [...shape], stride: rowMajorStride(shape), offset: 0 };
}

/** True when the elements lie row-major without gaps (starting at `offset`). */
export function isContiguous(view: Tensor): boolean {
  let step = 1;
  for (let axis = view.shape.length - 1; axis >= 0; axis--) {
    const dimension = view.shape[axis] as number;
    if (dimension !== 1 && view.stride[axis] !== step) return false;
    step *= dimension;
  }
  return true;
}

/**
 * The elements in row-major order as one typed array: the data itself (a subarray) when the view is contiguous,
 * else a copy.
 */
export function contiguousData<D extends NativeArray>(view: Tensor<D>): D {
  const count = elementCount(view.shape);
  if (isContiguous(view)) {
    return view.data.subarray(view.offset, view.offset + count) as D;
  }
  const copy = new (view.data.constructor as new (length: number) => D)(count);
  copyStrided(view, copy as { [index: number]: number }, 0, view.offset, 0);
  return copy;
}

function copyStrided(view: Tensor, out: { [index: number]: number }, axis: number, from: number, to: number): number {
  const length = view.shape[axis] ?? 1;
  const stride = view.stride[axis] ?? 1;
  if (axis >= view.shape.length - 1) {
    for (let i = 0; i < length; i++) out[to + i] = view.data[from + i * stride] as number;
    return to + length;
  }
  let next = to;
  for (let i = 0; i < length; i++) next = copyStrided(view, out, axis + 1, from + i * stride, next);
  return next;
}

import { expectCount, fail } from './error.js';
import { elementCount, rowMajorStride } from './shape.js';
import type { NativeArray, Shape, Tensor } from './types.js';

/** Wraps a typed array as a contiguous row-major tensor, without copying. Throws `SHAPE` when the sizes differ. */
export function tensor<D extends NativeArray>(data: D, shape: Shape = [data.length]): Tensor<D> {
  expectCount('tensor', `elements of shape [${shape}]`, data.length, elementCount(shape));
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
 * else a copy. Throws `SHAPE` when the view reaches outside its data.
 */
export function contiguousData<D extends NativeArray>(view: Tensor<D>): D {
  const count = checkedCount(view);
  if (isContiguous(view)) return view.data.subarray(view.offset, view.offset + count) as D;
  // A Node Buffer is read as the Uint8Array it is: its own constructor is deprecated.
  const Kind = view.data instanceof Uint8Array ? Uint8Array : view.data.constructor;
  const copy = new (Kind as new (length: number) => D)(count);
  copyStrided(view, copy as Writable, 0, view.offset, 0);
  return copy;
}

interface Writable {
  [index: number]: number;
}

/** Element count of a view whose every element lies inside its data. */
function checkedCount({ data, shape, stride, offset }: Tensor): number {
  const count = elementCount(shape);
  let lowest = offset;
  let highest = offset;
  shape.forEach((dimension, axis) => {
    const reach = (dimension - 1) * (stride[axis] as number);
    if (reach < 0) lowest += reach;
    else highest += reach;
  });
  if (count > 0 && !(Number.isInteger(lowest + highest) && lowest >= 0 && highest < data.length)) {
    fail(
      'SHAPE',
      'tensor',
      `shape [${shape}], stride [${stride}], offset ${offset} leave the ${data.length} elements of data`,
    );
  }
  return count;
}

function copyStrided(view: Tensor, out: Writable, axis: number, from: number, to: number): number {
  const { data } = view;
  const length = view.shape[axis] ?? 1;
  const stride = view.stride[axis] ?? 1;
  if (axis >= view.shape.length - 1) {
    for (let i = 0; i < length; i++) out[to + i] = data[from + i * stride] as number;
    return to + length;
  }
  for (let i = 0; i < length; i++) to = copyStrided(view, out, axis + 1, from + i * stride, to);
  return to;
}

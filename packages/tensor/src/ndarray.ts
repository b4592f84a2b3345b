/**
 * Interop with the npm package `ndarray`, an optional peer dependency of this subpath only: it compiles code with
 * `new Function`, which a strict Content-Security-Policy forbids, so the core import must not load it.
 */
import ndarray from 'ndarray';
import { fail } from './error.js';
import type { NativeArray, NdView, Tensor } from './types.js';

/**
 * An ndarray over the same memory: `transpose`, `lo`, `hi`, `step` and `pick` then make further views.
 * Every such view is a `Tensor` again and may be passed to any function that takes one.
 */
export function toNdarray<D extends NativeArray & ndarray.Data>(tensor: Tensor<D>): ndarray.NdArray<D> {
  return ndarray<D>(tensor.data, [...tensor.shape], [...tensor.stride], tensor.offset);
}

/**
 * A plain tensor over the memory of an ndarray.
 * Throws `DTYPE` where the data is a plain array or another container instead of a typed array.
 */
export function fromNdarray<D extends NativeArray>(view: NdView<D>): Tensor<D>;
export function fromNdarray(view: NdView<unknown>): Tensor;
export function fromNdarray(view: NdView<unknown>): Tensor {
  const { data, shape, stride, offset } = view;
  // Not DataView, which ArrayBuffer.isView also accepts, and not Float16Array.
  const kind = Object.prototype.toString.call(data).slice(8, -1);
  if (!ArrayBuffer.isView(data) || kind === 'DataView' || kind === 'Float16Array') {
    fail('DTYPE', 'fromNdarray', `an ndarray over ${kind}; copy it into a Float32Array first`);
  }
  return { data: data as NativeArray, shape: [...shape], stride: [...stride], offset };
}

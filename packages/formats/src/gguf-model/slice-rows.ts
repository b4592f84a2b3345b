import type { LazyTensor } from '@halftone/tensor';
import { checkRows } from '../internal/lazy-tensor.js';

/** Rows `[start, end)` of a tensor that is still in its file. */
export function sliceRowsLazy(lazy: LazyTensor, start: number, end: number): LazyTensor {
  const rowCount = lazy.shape[0] as number;
  const shape = [end - start, ...lazy.shape.slice(1)];
  return {
    ...lazy,
    shape,
    byteLength: (lazy.byteLength / rowCount) * (end - start),
    read: (rows, options) => {
      const range = checkRows(rows, shape, 'gguf-model', lazy.name);
      return lazy.read({ start: start + range.start, end: start + range.end }, options);
    },
  };
}

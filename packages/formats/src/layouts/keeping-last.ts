import type { LazyQuantizedTensor, ReadOptions } from '@halftone/tensor';

/** Reads a weight and makes something of it. */
export type WeightReader<T> = (weight: LazyQuantizedTensor, options?: ReadOptions) => Promise<T>;

/**
 * The same reader, which keeps its last result: a weight whose parts or row ranges are read one after the other is then read and
 * worked on once. Memory: one result; the last is dropped before the next is made.
 */
export function keepingLast<T>(read: WeightReader<T>): WeightReader<T> {
  let last: { readonly weight: LazyQuantizedTensor; readonly result: T } | undefined;
  return async (weight, options) => {
    if (last?.weight === weight) return last.result;
    last = undefined;
    const result = await read(weight, options);
    last = { weight, result };
    return result;
  };
}

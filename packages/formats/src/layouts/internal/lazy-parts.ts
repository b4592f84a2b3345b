import {
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type ReadOptions,
  rowByteLength,
} from '@halftone/tensor';
import { delivered } from '../../internal/byte-range.js';
import { checkRows } from '../../internal/lazy-tensor.js';

type Parts = { readonly tensors: ReadonlyMap<string, PackedTensor>; readonly settings?: JsonObject };

export type SplitReader = (weight: LazyQuantizedTensor, options?: ReadOptions) => Promise<Parts>;

/** Reads and splits weights, and keeps the last one, whose tensors are usually read one after the other. */
export function keepingLast(split: SplitReader): SplitReader {
  let last: { readonly name: string; readonly parts: Parts } | undefined;
  return async (weight, options) => {
    if (last?.name === weight.name) return last.parts;
    last = undefined;
    const parts = await split(weight, options);
    last = { name: weight.name, parts };
    return parts;
  };
}

/** The tensors that a weight is split into, split again when they are read. */
export function lazyParts(
  weight: LazyQuantizedTensor,
  parts: ReadonlyMap<string, PackedTensor>,
  split: SplitReader,
): LazyTensor[] {
  return Array.from(parts, ([name, { dtype, shape, bytes }]): LazyTensor => {
    const perIndex = shape.length < 2 ? rowByteLength(dtype, 1) : bytes.length / Math.max(1, shape[0] as number);
    return {
      kind: 'lazy',
      name,
      dtype,
      shape,
      byteLength: bytes.length,
      async read(rows, options) {
        const { start, end } = checkRows(rows, shape, weight.layout, name);
        const { tensors } = await split(weight, { signal: options?.signal });
        const range = (tensors.get(name) as PackedTensor).bytes.slice(start * perIndex, end * perIndex);
        const part = shape.length === 0 ? [] : [end - start, ...shape.slice(1)];
        return { kind: 'packed', dtype, shape: part, bytes: delivered(range, options, weight.layout, name) };
      },
    };
  });
}

import {
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  rowByteLength,
} from '@halftone/tensor';
import { delivered } from '../../internal/byte-range.js';
import { checkRows } from '../../internal/lazy-tensor.js';
import type { WeightReader } from '../keeping-last.js';

export interface SplitParts {
  readonly tensors: ReadonlyMap<string, PackedTensor>;
  /** Absent: the weight is stored as floats. */
  readonly settings?: JsonObject;
}

/** The tensors that a weight is split into, split again when they are read. */
export function lazyParts(
  weight: LazyQuantizedTensor,
  parts: ReadonlyMap<string, PackedTensor>,
  split: WeightReader<SplitParts>,
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

import { type Checkpoint, elementCount, packedByteLength, type Scheme, type StorageType } from '@halftone/tensor';

/** A stored tensor. A `LazyTensor` or a `TensorEntry` is one. */
export type WeightEntry =
  | {
      readonly name: string;
      readonly dtype: StorageType;
      readonly shape: readonly number[];
      /** Bytes of its data. Default: what its storage type and shape need. */
      readonly byteLength?: number;
    }
  /** A weight that is kept in several tensors; `dtype` is what to call its storage. */
  | { readonly name: string; readonly dtype: string; readonly shape: readonly number[]; readonly byteLength: number };

export interface TensorBytes {
  readonly name: string;
  readonly dtype: string;
  readonly elements: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
}

export interface WeightBytes {
  readonly tensors: readonly TensorBytes[];
  readonly elements: number;
  /** Bytes of tensor data, without headers and padding. */
  readonly bytes: number;
  /** `8 * bytes / elements` over all tensors, norms and embeddings included. NaN for no elements. */
  readonly bitsPerWeight: number;
  /** Totals of each storage type. */
  readonly byType: Readonly<
    Record<string, { readonly tensors: number; readonly elements: number; readonly bytes: number }>
  >;
}

/** Byte account of stored tensors. Bits per weight count the tensor data alone: scales are in, file headers are not. */
export function weightBytes(entries: Iterable<WeightEntry>): WeightBytes {
  const tensors: TensorBytes[] = [];
  const byType: Record<string, { tensors: number; elements: number; bytes: number }> = {};
  let elements = 0;
  let bytes = 0;
  for (const { name, dtype, shape, byteLength } of entries) {
    const count = elementCount(shape, name);
    const size = byteLength ?? packedByteLength(dtype as StorageType, shape);
    tensors.push({ name, dtype, elements: count, bytes: size, bitsPerWeight: (8 * size) / count });
    byType[dtype] ??= { tensors: 0, elements: 0, bytes: 0 };
    const total = byType[dtype];
    total.tensors++;
    total.elements += count;
    total.bytes += size;
    elements += count;
    bytes += size;
  }
  return { tensors, elements, bytes, bitsPerWeight: (8 * bytes) / elements, byType };
}

/**
 * Byte account of an opened weight file. Reads no weights. Weights of a layout count as one each, with all their tensors, and are
 * called after layout, grid and groups: `gptq int4 g128`.
 */
export function checkpointBytes(
  checkpoint: Pick<Checkpoint, 'tensors' | 'quantized' | 'byteLength'>,
): WeightBytes & { readonly fileBytes: number } {
  const quantized = Array.from(checkpoint.quantized?.values() ?? [], ({ name, layout, scheme, shape, byteLength }) => ({
    name,
    dtype: `${layout} ${schemeLabel(scheme)}`,
    shape,
    byteLength,
  }));
  return { ...weightBytes([...checkpoint.tensors.values(), ...quantized]), fileBytes: checkpoint.byteLength };
}

function schemeLabel({ grid, granularity }: Scheme): string {
  const values =
    grid.type === 'affine'
      ? `int${grid.bits}`
      : grid.type === 'float'
        ? `e${grid.exponent}m${grid.mantissa}`
        : `lookup${grid.bits}${grid.vectorLength > 1 ? `x${grid.vectorLength}` : ''}`;
  switch (granularity.type) {
    case 'group':
      return `${values} g${granularity.size}`;
    case 'block':
      return `${values} ${granularity.rows}x${granularity.columns}`;
    case 'axis':
      return `${values} ${granularity.axis === 0 ? 'a row' : 'a column'}`;
    default:
      return values;
  }
}

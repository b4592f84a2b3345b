import {
  type DType,
  decode,
  encode,
  HalftoneError,
  isDType,
  type LazyTensor,
  type PackedTensor,
  type ReadIntoOptions,
  type RowRange,
} from '@halftone/tensor';
import { delivered } from '../internal/byte-range.js';

const WHERE = 'gguf-model';

/**
 * A norm's gain as GGUF stores it, of a model whose Hugging Face file stores it less 1 (Gemma): `1 + value`, added in
 * float32 as transformers does before it multiplies, so both programs multiply by the same number. The tensor becomes F32;
 * half precision would round again. A value below 2^-16 in magnitude may lose its last bits to the sum.
 * Throws `UNSUPPORTED` for types that are not floats of at most 32 bits.
 */
export function addOneLazy(lazy: LazyTensor): LazyTensor {
  return shifted(lazy, (value) => Math.fround(1 + value));
}

/**
 * The inverse: `value - 1`, in F32. A read throws `UNSUPPORTED` for a value from which that float32 subtraction does not
 * lead back (gains below a half with bits that no gain less 1 has).
 */
export function subtractOneLazy(lazy: LazyTensor): LazyTensor {
  return shifted(lazy, (value) => {
    const less = Math.fround(value - 1);
    if (Math.fround(1 + less) === value || Number.isNaN(value)) return less;
    throw new HalftoneError('UNSUPPORTED', `${lazy.name}: the gain ${value} less 1 is not a float32`, {
      where: WHERE,
      details: { tensor: lazy.name, value },
    });
  });
}

function shifted(lazy: LazyTensor, shift: (value: number) => number): LazyTensor {
  const { dtype, shape } = lazy;
  if (!isDType(dtype) || !['f32', 'f16', 'bf16'].includes(dtype)) {
    throw new HalftoneError('UNSUPPORTED', `${lazy.name}: a gain of ${dtype} cannot be shifted by 1; decode it first`, {
      where: WHERE,
      details: { tensor: lazy.name, dtype },
    });
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const read = async (rows?: RowRange, options?: ReadIntoOptions): Promise<PackedTensor> => {
    const part = (await lazy.read(rows, { signal: options?.signal })) as PackedTensor<DType>;
    const values = decode(part).map(shift);
    const { bytes } = encode(values, 'f32', part.shape);
    return { kind: 'packed', dtype: 'f32', shape: part.shape, bytes: delivered(bytes, options, WHERE, lazy.name) };
  };
  return { ...lazy, dtype: 'f32', byteLength: 4 * count, read };
}

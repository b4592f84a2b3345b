import {
  type DType,
  decode,
  type GgmlType,
  HalftoneError,
  isDType,
  isGgmlType,
  type PackedTensor,
  type QuantizedTensor,
  type StorageType,
} from '@halftone/tensor';
import { ggmlTypeOf } from '@halftone/tensor/ggml';
import type { GgmlCodec } from './internal/ggml-codec.js';
import { q2_K } from './q2-k.js';
import { q3_K } from './q3-k.js';
import { q4_0, q4_1 } from './q4.js';
import { q4_K } from './q4-k.js';
import { q5_0, q5_1 } from './q5.js';
import { q5_K } from './q5-k.js';
import { q6_K } from './q6-k.js';
import { q8_0 } from './q8.js';

/** All block codecs by type. Import single ones (`q4_K`) instead where the size of a bundle matters. */
export const GGML_CODECS = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q2_K: q2_K,
  Q3_K: q3_K,
  Q4_K: q4_K,
  Q5_K: q5_K,
  Q6_K: q6_K,
} as { readonly [T in GgmlType]: GgmlCodec<T> };

/**
 * Values of a tensor as GGUF files store it: ggml blocks, or plain elements (`f32`, `f16`, `bf16` and others).
 * Blocks decode to ggml's bits. `out` has as many elements and is returned.
 * Throws `DTYPE` for an unknown type, `SHAPE` for bytes or an `out` that do not fit.
 */
export function decodeGgml(packed: PackedTensor<StorageType>, out?: Float32Array): Float32Array {
  if (isGgmlType(packed.dtype)) return codecOf(packed.dtype, 'decodeGgml').decode(packed, out);
  if (isDType(packed.dtype)) return decode(packed as PackedTensor<DType>, out);
  throw new HalftoneError('DTYPE', `unknown storage type ${JSON.stringify(packed.dtype)}`, { where: 'decodeGgml' });
}

/**
 * Codes and scales of a weight `[out, in]` in ggml blocks, as listed at `GGML_SCHEMES`.
 * Throws `DTYPE` for a type that is not a ggml block type, `SHAPE` for bytes that do not fit or a tensor that is no matrix.
 */
export function unpackGgml(packed: PackedTensor): QuantizedTensor {
  return codecOf(packed.dtype, 'unpackGgml').unpack(packed);
}

/**
 * The exact inverse of `unpackGgml`; it never rounds. `type` is needed only where the scheme does not name it
 * (an `affine` scheme with the same grid and groups, for example 4-bit symmetric in groups of 32 as `Q4_0`).
 * Throws `UNSUPPORTED`, `SHAPE` or `RANGE`, see `GgmlCodec.pack`.
 */
export function packGgml(
  q: QuantizedTensor,
  type: GgmlType | undefined = ggmlTypeOf(q.scheme),
): PackedTensor<GgmlType> {
  if (type === undefined) {
    throw new HalftoneError('UNSUPPORTED', `scheme ${q.scheme.name} names no ggml type; pass the type to pack as`, {
      where: 'packGgml',
      details: { scheme: q.scheme },
    });
  }
  return codecOf(type, 'packGgml').pack(q);
}

function codecOf(type: string, where: string): GgmlCodec {
  if (!isGgmlType(type)) {
    throw new HalftoneError('DTYPE', `${type} is not a ggml block type; decode it with decodeGgml or decode`, {
      where,
    });
  }
  const codec: GgmlCodec | undefined = GGML_CODECS[type];
  if (codec === undefined) throw new HalftoneError('UNSUPPORTED', `${type} blocks cannot be read yet`, { where });
  return codec;
}

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
import { mxfp4, nvfp4 } from './fp4.js';
import type { GgmlCodec } from './internal/ggml-codec.js';
import { iq1_m, iq1_s } from './iq1.js';
import { iq2_s, iq2_xs, iq2_xxs } from './iq2.js';
import { iq3_s, iq3_xxs } from './iq3.js';
import { iq4_nl, iq4_xs } from './iq4.js';
import { q1_0 } from './q1.js';
import { q2_0 } from './q2.js';
import { q2_K } from './q2-k.js';
import { q3_K } from './q3-k.js';
import { q4_0, q4_1 } from './q4.js';
import { q4_K } from './q4-k.js';
import { q5_0, q5_1 } from './q5.js';
import { q5_K } from './q5-k.js';
import { q6_K } from './q6-k.js';
import { q8_0 } from './q8.js';
import { tq1_0, tq2_0 } from './tq.js';

/** All block codecs by type. Import single ones (`q4_K`) instead where the size of a bundle matters. */
export const GGML_CODECS: { readonly [T in GgmlType]: GgmlCodec<T> } = {
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
  IQ1_S: iq1_s,
  IQ1_M: iq1_m,
  IQ2_XXS: iq2_xxs,
  IQ2_XS: iq2_xs,
  IQ2_S: iq2_s,
  IQ3_XXS: iq3_xxs,
  IQ3_S: iq3_s,
  IQ4_NL: iq4_nl,
  IQ4_XS: iq4_xs,
  TQ1_0: tq1_0,
  TQ2_0: tq2_0,
  MXFP4: mxfp4,
  NVFP4: nvfp4,
  Q1_0: q1_0,
  Q2_0: q2_0,
};

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
  return GGML_CODECS[type];
}

import {
  type Checkpoint,
  HalftoneError,
  type LazyQuantizedTensor,
  type LazyTensor,
  type Shape,
  sameShape,
} from '@halftone/tensor';
import { expandRoles, fillBlock, type NamedRole } from '../../gguf-model/tensor-names.js';
import type { DecoderDescription } from './describe-decoder.js';

/** The weights of a model in Hugging Face naming. Quantized ones have their logical shape `[out, in]`, GPT-2's too. */
export type OnnxDecoderWeights = Pick<Checkpoint, 'tensors' | 'quantized'>;

export const WHERE = 'onnx-decoder';

/** What the checkpoint has for one weight of the model. */
export type FoundWeight =
  | { readonly type: 'float'; readonly tensor: LazyTensor; readonly dtype: 'f32' | 'f16' | 'bf16' }
  | { readonly type: 'quantized'; readonly tensor: LazyQuantizedTensor };

/** The weights of a model by their full Hugging Face names, whatever prefix the checkpoint leaves out. */
export type FoundWeights = ReadonlyMap<string, FoundWeight>;

/** Buffers that checkpoints sometimes hold and that no model reads: rotary tables and GPT-2's causal masks. */
const IGNORED = /(\.rotary_emb\.inv_freq|\.attn\.bias|\.attn\.masked_bias)$/;

/**
 * Finds every weight that the architecture has. Throws `FORMAT` for missing ones, `SHAPE` for shapes that do not fit the
 * configuration, `UNSUPPORTED` for tensors that the model has no place for and for types that are not f32, f16 or bf16.
 */
export function findWeights(
  description: DecoderDescription,
  weights: OnnxDecoderWeights,
  conv1dTransposed: boolean,
): FoundWeights {
  const { architecture, sizes, tiedHead } = description;
  const found = new Map<string, FoundWeight>();
  const used = new Set<string>();
  for (const named of expandRoles(architecture, sizes.blocks)) {
    const name = fillBlock(named.role.hf, named.block);
    const stored = storedName(name, weights);
    if (stored === undefined) {
      const needed = named.role.required || (name === 'lm_head.weight' && !tiedHead);
      if (needed) fail('FORMAT', `${name}: the checkpoint has no such tensor; check that all shards are there`, name);
      continue;
    }
    used.add(stored);
    // A head that is tied to the embedding is a copy of it, except where it was quantized on its own.
    if (name === 'lm_head.weight' && tiedHead && !weights.quantized?.has(stored)) continue;
    found.set(name, foundWeight(stored, named, description, weights, conv1dTransposed));
  }
  for (const name of [...weights.tensors.keys(), ...(weights.quantized?.keys() ?? [])]) {
    if (!used.has(name) && !IGNORED.test(name)) {
      fail('UNSUPPORTED', `${name}: a ${architecture} model of ${sizes.blocks} blocks has no such tensor`, name);
    }
  }
  return found;
}

function storedName(name: string, { tensors, quantized }: OnnxDecoderWeights): string | undefined {
  const bare = name.replace(/^(transformer|model)\./, '');
  return [name, bare].find((candidate) => tensors.has(candidate) || quantized?.has(candidate));
}

function foundWeight(
  name: string,
  { role }: NamedRole,
  { sizes }: DecoderDescription,
  { tensors, quantized }: OnnxDecoderWeights,
  conv1dTransposed: boolean,
): FoundWeight {
  const logical = role.shape(sizes);
  const lazy = quantized?.get(name);
  if (lazy !== undefined) {
    if (role.float) fail('UNSUPPORTED', `${name}: only matrices may be quantized`, name);
    checkShape(name, lazy.shape, logical);
    return { type: 'quantized', tensor: lazy };
  }
  const tensor = tensors.get(name) as LazyTensor;
  checkShape(name, tensor.shape, role.conv1d && conv1dTransposed ? [...logical].reverse() : logical);
  const { dtype } = tensor;
  if (dtype === 'f32' || dtype === 'f16' || dtype === 'bf16') return { type: 'float', tensor, dtype };
  return fail('UNSUPPORTED', `${name}: ${dtype} is not exported; give f32, f16 or bf16, or a quantized tensor`, name);
}

function checkShape(name: string, shape: Shape, expected: Shape): void {
  if (sameShape(shape, expected)) return;
  fail('SHAPE', `${name}: shape [${shape}] does not fit config.json, which asks for [${expected}]`, name);
}

function fail(code: 'FORMAT' | 'SHAPE' | 'UNSUPPORTED', message: string, tensor: string): never {
  throw new HalftoneError(code, message, { where: WHERE, details: { tensor } });
}

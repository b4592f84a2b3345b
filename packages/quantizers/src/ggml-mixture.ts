import { GGML_TYPES, HalftoneError, isGgmlType, type StorageType } from '@halftone/tensor';
import { mixtureType } from './ggml/mixture-rules.js';

/**
 * What a tensor does, architecture-neutral. `attention.qkv` is a fused projection (GPT-2).
 * `other` stands for any further matrix that may be quantized.
 */
export type TensorRole =
  | 'token-embedding'
  | 'position-embedding'
  | 'output'
  | 'norm'
  | 'bias'
  | 'attention.query'
  | 'attention.key'
  | 'attention.value'
  | 'attention.qkv'
  | 'attention.output'
  | 'mlp.gate'
  | 'mlp.up'
  | 'mlp.down'
  | 'mlp.router'
  | 'other';

export interface MixtureTensor {
  readonly role: TensorRole;
  readonly shape: readonly number[];
  /** Index of the block, from 0; absent outside blocks. */
  readonly layer?: number;
}

/** What the rules ask about the model as a whole. */
export interface MixtureModel {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** The head shares its weight with the token embedding, which then follows the rule for outputs. */
  readonly tiedHead: boolean;
  /** Experts of each MLP; 0 or absent for dense models. */
  readonly experts?: number;
  /** Whether an importance matrix will be used. */
  readonly importance?: boolean;
}

/**
 * Names as in llama-quantize; `Q3_K`, `Q4_K` and `Q5_K` mean the `_M` mixtures.
 * `MXFP4` is `MXFP4_MOE` for dense models, which llama-quantize stores in Q8_0: all matrices but embedding and output.
 */
export type MixtureName = keyof typeof MIXTURES;

/** Chooses how a tensor is stored. */
export interface Mixture {
  readonly name: MixtureName;
  /** `general.file_type` of a GGUF file made with it. */
  readonly fileType: number;
  /** The type of tensors that no rule singles out. */
  readonly base: StorageType;
  storageType(tensor: MixtureTensor, model: MixtureModel): StorageType;
}

const MIXTURES = {
  F32: { base: 'f32', fileType: 0 },
  F16: { base: 'f16', fileType: 1 },
  BF16: { base: 'bf16', fileType: 32 },
  Q4_0: { base: 'Q4_0', fileType: 2 },
  Q4_1: { base: 'Q4_1', fileType: 3 },
  Q5_0: { base: 'Q5_0', fileType: 8 },
  Q5_1: { base: 'Q5_1', fileType: 9 },
  Q8_0: { base: 'Q8_0', fileType: 7 },
  Q2_K: { base: 'Q2_K', fileType: 10 },
  Q2_K_S: { base: 'Q2_K', fileType: 21 },
  Q3_K_S: { base: 'Q3_K', fileType: 11 },
  Q3_K_M: { base: 'Q3_K', fileType: 12 },
  Q3_K_L: { base: 'Q3_K', fileType: 13 },
  Q4_K_S: { base: 'Q4_K', fileType: 14 },
  Q4_K_M: { base: 'Q4_K', fileType: 15 },
  Q5_K_S: { base: 'Q5_K', fileType: 16 },
  Q5_K_M: { base: 'Q5_K', fileType: 17 },
  Q6_K: { base: 'Q6_K', fileType: 18 },
  IQ1_S: { base: 'IQ1_S', fileType: 24 },
  IQ1_M: { base: 'IQ1_M', fileType: 31 },
  IQ2_XXS: { base: 'IQ2_XXS', fileType: 19 },
  IQ2_XS: { base: 'IQ2_XS', fileType: 20 },
  IQ2_S: { base: 'IQ2_XS', fileType: 28 },
  IQ2_M: { base: 'IQ2_S', fileType: 29 },
  IQ3_XXS: { base: 'IQ3_XXS', fileType: 23 },
  IQ3_XS: { base: 'IQ3_S', fileType: 22 },
  IQ3_S: { base: 'IQ3_S', fileType: 26 },
  IQ3_M: { base: 'IQ3_S', fileType: 27 },
  IQ4_NL: { base: 'IQ4_NL', fileType: 25 },
  IQ4_XS: { base: 'IQ4_XS', fileType: 30 },
  TQ1_0: { base: 'TQ1_0', fileType: 36 },
  TQ2_0: { base: 'TQ2_0', fileType: 37 },
  Q1_0: { base: 'Q1_0', fileType: 40 },
  Q2_0: { base: 'Q2_0', fileType: 41 },
  MXFP4: { base: 'MXFP4', fileType: 38 },
  MXFP4_MOE: { base: 'MXFP4', fileType: 38 },
} as const satisfies Record<string, { base: StorageType; fileType: number }>;

const ALIASES: Readonly<Record<string, MixtureName>> = { Q3_K: 'Q3_K_M', Q4_K: 'Q4_K_M', Q5_K: 'Q5_K_M' };

/** All mixture names, without aliases. */
export const MIXTURE_NAMES = Object.keys(MIXTURES) as readonly MixtureName[];

/**
 * llama.cpp's quantization mixtures: which tensor of a model gets which type, falling back where rows are no whole blocks.
 * Norms, biases, position embeddings and routers stay f32.
 * Throws `UNSUPPORTED` for an unknown name.
 * Source: llama-quant.cpp (llama_tensor_get_type_impl), without the special cases of Falcon.
 */
export function ggmlMixture(name: MixtureName | 'Q3_K' | 'Q4_K' | 'Q5_K'): Mixture {
  const known = ALIASES[name] ?? name;
  if (!Object.hasOwn(MIXTURES, known)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `no mixture is called ${JSON.stringify(name)}; known are ${MIXTURE_NAMES.join(', ')}`,
      {
        where: 'ggmlMixture',
        details: { name },
      },
    );
  }
  const mixture = known as MixtureName;
  const { base, fileType } = MIXTURES[mixture];
  return {
    name: mixture,
    fileType,
    base,
    storageType(tensor, model) {
      const { role, shape } = tensor;
      if (
        shape.length < 2 ||
        role === 'norm' ||
        role === 'bias' ||
        role === 'position-embedding' ||
        role === 'mlp.router'
      ) {
        return 'f32';
      }
      if (!isGgmlType(base)) return base;
      const columns = shape[shape.length - 1] as number;
      return ggmlFallback(mixtureType(mixture, base, tensor, model, columns), columns);
    },
  };
}

/**
 * The type itself where rows of `columns` are whole blocks, else llama.cpp's replacement with blocks of 32
 * (Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0, IQ types → IQ4_NL, all others → Q4_0), else f16.
 */
export function ggmlFallback(type: StorageType, columns: number): StorageType {
  if (!isGgmlType(type) || columns % GGML_TYPES[type].blockSize === 0) return type;
  if (columns % 32 !== 0) return 'f16';
  switch (type) {
    case 'Q4_K':
      return 'Q5_0';
    case 'Q5_K':
      return 'Q5_1';
    case 'Q6_K':
      return 'Q8_0';
    default:
      return type.startsWith('IQ') ? 'IQ4_NL' : 'Q4_0';
  }
}

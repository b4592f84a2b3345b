import { GGML_TYPES, HalftoneError, isGgmlType, type StorageType } from '@halftone/tensor';

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

/** Names as in llama-quantize; `Q3_K`, `Q4_K` and `Q5_K` mean the `_M` mixtures. */
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
 * (Q2_K and Q3_K → Q4_0, Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0), else f16.
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
      return 'Q4_0';
  }
}

/** The first and last eighth of the layers, and every third between. */
function usesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function mixtureType(
  mixture: MixtureName,
  base: StorageType,
  { role, layer = 0 }: MixtureTensor,
  model: MixtureModel,
  columns: number,
): StorageType {
  switch (role) {
    case 'output':
    case 'token-embedding': {
      if (role === 'token-embedding' && !model.tiedHead) return base;
      const blockSize = isGgmlType(base) ? GGML_TYPES[base].blockSize : 1;
      return base === 'Q8_0' || columns % blockSize !== 0 ? 'Q8_0' : 'Q6_K';
    }
    case 'attention.value':
    case 'attention.qkv':
      return valueType(mixture, base, layer, model);
    case 'attention.key':
      return model.experts === 8 ? 'Q8_0' : base;
    case 'attention.output':
      return attentionOutputType(mixture, base, model);
    case 'mlp.down':
      return mlpDownType(mixture, base, layer, model);
    default:
      return base;
  }
}

function valueType(mixture: MixtureName, base: StorageType, layer: number, model: MixtureModel): StorageType {
  if (model.experts === 8) return 'Q8_0';
  const shared = model.heads / model.kvHeads;
  const type = ((): StorageType => {
    switch (mixture) {
      case 'Q2_K':
        return shared >= 4 ? 'Q4_K' : 'Q3_K';
      case 'Q2_K_S':
        return shared >= 4 ? 'Q4_K' : base;
      case 'Q3_K_M':
        return layer < 2 ? 'Q5_K' : 'Q4_K';
      case 'Q3_K_L':
        return 'Q5_K';
      case 'Q4_K_S':
        return layer < 4 ? 'Q5_K' : base;
      case 'Q4_K_M':
      case 'Q5_K_M':
        return usesMoreBits(layer, model.layers) ? 'Q6_K' : base;
      default:
        return base;
    }
  })();
  // llama.cpp's 70B models: eight heads share a value, so the tensor is small.
  const is70B = model.layers === 80 && shared > 1;
  return is70B && (type === 'Q3_K' || type === 'Q4_K') ? 'Q5_K' : type;
}

function attentionOutputType(mixture: MixtureName, base: StorageType, model: MixtureModel): StorageType {
  if (model.experts === 8) {
    const raised: readonly MixtureName[] = ['Q2_K', 'Q3_K_S', 'Q3_K_M', 'Q4_K_S', 'Q4_K_M'];
    return raised.includes(mixture) ? 'Q5_K' : base;
  }
  switch (mixture) {
    case 'Q2_K':
      return 'Q3_K';
    case 'Q3_K_M':
      return 'Q4_K';
    case 'Q3_K_L':
      return 'Q5_K';
    default:
      return base;
  }
}

function mlpDownType(mixture: MixtureName, base: StorageType, layer: number, model: MixtureModel): StorageType {
  const { layers } = model;
  const early = layer < Math.floor(layers / 8);
  switch (mixture) {
    case 'Q2_K':
      return 'Q3_K';
    case 'Q2_K_S':
      return early ? 'Q4_K' : base;
    case 'Q3_K_M':
      return layer < Math.floor(layers / 16) ? 'Q5_K' : 'Q4_K';
    case 'Q3_K_L':
      return 'Q5_K';
    case 'Q4_K_S':
      return early ? 'Q5_K' : base;
    case 'Q4_K_M':
    case 'Q5_K_M':
      return usesMoreBits(layer, layers) ? 'Q6_K' : base;
    case 'Q4_0':
      return early && model.importance === true ? 'Q4_1' : base;
    case 'Q5_0':
      return early && model.importance === true ? 'Q5_1' : base;
    default:
      return base;
  }
}

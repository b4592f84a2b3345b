/** Which type a mixture gives to a tensor, before fallbacks. Source: llama-quant.cpp, llama_tensor_get_type_impl. */
import { GGML_TYPES, isGgmlType, type StorageType } from '@halftone/tensor';
import type { MixtureModel, MixtureName, MixtureTensor } from '../ggml-mixture.js';

/** Mixtures around 2 bits and below have rules of their own. */
const FEW_BITS: readonly MixtureName[] = ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ2_M'];

export function mixtureType(
  mixture: MixtureName,
  base: StorageType,
  tensor: MixtureTensor,
  model: MixtureModel,
  columns: number,
): StorageType {
  const { role, layer = 0 } = tensor;
  if (role === 'output' || (role === 'token-embedding' && model.tiedHead)) return outputType(mixture, base, columns);
  if (mixture === 'MXFP4_MOE') return tensor.shape.length > 2 ? base : 'Q8_0';
  if (role === 'token-embedding') return embeddingType(mixture, base);
  if (FEW_BITS.includes(mixture)) return fewBitsType(mixture, base, tensor, model);
  switch (role) {
    case 'attention.value':
    case 'attention.qkv':
      return valueType(mixture, base, layer, model);
    case 'attention.key':
      return model.experts === 8 ? 'Q8_0' : queryType(mixture, base);
    case 'attention.query':
      return queryType(mixture, base);
    case 'attention.output':
      return attentionOutputType(mixture, base, model);
    case 'mlp.down':
      return mlpDownType(mixture, base, layer, model);
    case 'mlp.gate':
    case 'mlp.up': {
      const middle = layer >= Math.floor(model.layers / 8) && layer < Math.floor((7 * model.layers) / 8);
      return mixture === 'IQ3_XS' && middle ? 'IQ3_XXS' : base;
    }
    default:
      return base;
  }
}

function outputType(mixture: MixtureName, base: StorageType, columns: number): StorageType {
  const blockSize = isGgmlType(base) ? GGML_TYPES[base].blockSize : 1;
  if (base === 'Q8_0' || base === 'MXFP4' || columns % blockSize !== 0) return 'Q8_0';
  return FEW_BITS.includes(mixture) || mixture === 'IQ3_XXS' ? 'Q5_K' : 'Q6_K';
}

function embeddingType(mixture: MixtureName, base: StorageType): StorageType {
  switch (mixture) {
    case 'IQ1_S':
    case 'IQ1_M':
    case 'IQ2_XXS':
    case 'IQ2_XS':
      return 'Q2_K';
    case 'IQ2_S':
    case 'IQ2_M':
    case 'IQ3_XXS':
      return 'IQ3_S';
    case 'TQ1_0':
    case 'TQ2_0':
    case 'Q2_0':
      return 'Q4_K';
    case 'MXFP4':
      return 'Q8_0';
    default:
      return base;
  }
}

function fewBitsType(
  mixture: MixtureName,
  base: StorageType,
  { role, layer = 0 }: MixtureTensor,
  { layers, heads, kvHeads, experts = 0 }: MixtureModel,
): StorageType {
  const larger = mixture === 'IQ2_S' || mixture === 'IQ2_M';
  switch (role) {
    case 'attention.value':
    case 'attention.qkv':
      if (heads / kvHeads >= 4 || experts >= 4) return 'Q4_K';
      return larger ? 'IQ3_S' : 'Q2_K';
    case 'attention.key':
      return experts === 8 ? 'Q4_K' : base;
    case 'attention.output':
      if (experts === 8) return 'Q5_K';
      if (larger) return 'IQ3_S';
      return mixture === 'IQ1_S' || mixture === 'IQ1_M' ? 'IQ2_XXS' : base;
    case 'mlp.down':
      if (layer >= Math.floor(layers / 8)) return base;
      return larger ? 'IQ3_S' : 'Q2_K';
    default:
      return base;
  }
}

function queryType(mixture: MixtureName, base: StorageType): StorageType {
  return mixture === 'IQ3_XS' ? 'IQ3_XXS' : mixture === 'IQ3_XXS' ? 'IQ2_S' : base;
}

/** The first and last eighth of the layers, and every third between. */
function usesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function valueType(mixture: MixtureName, base: StorageType, layer: number, model: MixtureModel): StorageType {
  if (model.experts === 8) return 'Q8_0';
  const shared = model.heads / model.kvHeads;
  const type = ((): StorageType => {
    switch (mixture) {
      case 'Q2_K':
        return shared >= 4 ? 'Q4_K' : 'Q3_K';
      case 'Q2_K_S':
      case 'IQ3_XS':
      case 'IQ3_S':
        return shared >= 4 ? 'Q4_K' : base;
      case 'IQ3_XXS':
        return shared >= 4 ? 'Q4_K' : model.importance === true ? 'IQ3_XXS' : 'IQ3_S';
      case 'IQ3_M':
        return 'Q4_K';
      case 'IQ4_NL':
      case 'IQ4_XS':
        return shared >= 4 ? 'Q5_K' : base;
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
    return /^(Q2_K|Q3_K_[SM]|Q4_K_[SM]|IQ3_.*|IQ4_.*)$/.test(mixture) ? 'Q5_K' : base;
  }
  switch (mixture) {
    case 'Q2_K':
      return 'Q3_K';
    case 'Q3_K_M':
    case 'IQ3_M':
      return 'Q4_K';
    case 'Q3_K_L':
      return 'Q5_K';
    case 'IQ3_XXS':
      return 'IQ3_S';
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
    case 'IQ3_XXS':
      return model.importance === true ? base : early ? 'Q4_K' : 'Q3_K';
    case 'IQ3_M':
      return early || (model.experts === 8 && usesMoreBits(layer, layers)) ? 'Q4_K' : base;
    case 'IQ4_NL':
    case 'IQ4_XS':
      return early && model.importance !== true ? 'Q5_K' : base;
    case 'Q4_0':
      return early && model.importance === true ? 'Q4_1' : base;
    case 'Q5_0':
      return early && model.importance === true ? 'Q5_1' : base;
    default:
      return base;
  }
}

import type { BlockGraph, LinearNode, ModelGraph, NormNode } from '@halftone/tensor';
import type { ModelConfig } from '../config.js';
import {
  activationName,
  count,
  flag,
  formatError,
  type JsonObject,
  positive,
  tokenIds,
  unsupported,
} from '../internal/config-fields.js';
import { MAX_CONTEXT, MAX_FEATURES, MAX_LAYERS, MAX_VOCABULARY } from '../internal/config-limits.js';
import type { Architecture } from './architecture.js';

/** GPT-2: LayerNorm, fused query/key/value stored as `[in, out]`, learned positions (transformers' modeling_gpt2.py). */
export const gpt2: Architecture = {
  classNames: ['GPT2LMHeadModel', 'GPT2Model'],
  prefix: 'transformer.',
  parse,
  graph,
};

function parse(json: JsonObject): ModelConfig {
  const hiddenSize = count(json, ['n_embd', 'hidden_size'], MAX_FEATURES);
  const layers = count(json, ['n_layer', 'num_hidden_layers'], MAX_LAYERS);
  const heads = count(json, ['n_head', 'num_attention_heads'], MAX_FEATURES);
  if (hiddenSize % heads !== 0) throw formatError('n_head', heads, `a divisor of n_embd ${hiddenSize}`);
  for (const key of ['scale_attn_by_inverse_layer_idx', 'add_cross_attention']) {
    if (flag(json, key, false)) throw unsupported(key, true, 'only the standard GPT-2 attention is implemented');
  }
  if (!flag(json, 'scale_attn_weights', true))
    throw unsupported('scale_attn_weights', false, 'scores are always scaled');
  const vocabSize = count(json, 'vocab_size', MAX_VOCABULARY);
  return {
    architecture: 'gpt2',
    layers,
    hiddenSize,
    intermediateSize: count(json, 'n_inner', MAX_FEATURES, 4 * hiddenSize),
    heads,
    kvHeads: heads,
    headDim: hiddenSize / heads,
    vocabSize,
    contextLength: count(json, ['n_positions', 'max_position_embeddings', 'n_ctx'], MAX_CONTEXT, 1024),
    norm: 'layer',
    normEpsilon: positive(json, 'layer_norm_epsilon', 1e-5),
    activation: activationName(json, 'activation_function', 'gelu_new'),
    gatedMlp: false,
    queryBias: true,
    outputBias: true,
    mlpBias: true,
    headNorms: false,
    windows: new Array<number | undefined>(layers).fill(undefined),
    tiedHead: flag(json, 'tie_word_embeddings', true),
    bosTokens: tokenIds(json, 'bos_token_id', vocabSize),
    eosTokens: tokenIds(json, 'eos_token_id', vocabSize),
  };
}

function graph(config: ModelConfig, prefix: string): ModelGraph {
  const embedding = `${prefix}wte.weight`;
  return {
    blocks: Array.from({ length: config.layers }, (_, index) => blockGraph(config, index, `${prefix}h.${index}.`)),
    embedding,
    positionEmbedding: `${prefix}wpe.weight`,
    finalNorm: norm(config, 'final.norm', `${prefix}ln_f`, 'head.input'),
    head: {
      name: 'head',
      weight: config.tiedHead ? embedding : 'lm_head.weight',
      inFeatures: config.hiddenSize,
      outFeatures: config.vocabSize,
      input: 'head.input',
      output: 'logits',
    },
    tiedHead: config.tiedHead,
  };
}

function blockGraph(config: ModelConfig, index: number, prefix: string): BlockGraph {
  const { hiddenSize, intermediateSize, heads, headDim } = config;
  const linear = (
    name: string,
    stored: string,
    outFeatures: number,
    inFeatures: number,
    input: string,
    output: string,
  ): LinearNode => ({
    name,
    weight: `${prefix}${stored}.weight`,
    bias: `${prefix}${stored}.bias`,
    outFeatures,
    inFeatures,
    storedTransposed: true,
    input,
    output,
  });
  return {
    index,
    norms: [
      norm(config, 'attention.norm', `${prefix}ln_1`, 'attention.input'),
      norm(config, 'mlp.norm', `${prefix}ln_2`, 'mlp.input'),
    ],
    linears: [
      {
        ...linear('attention.qkv', 'attn.c_attn', 3 * hiddenSize, hiddenSize, 'attention.input', 'attention.qkv'),
        heads: { axis: 0, count: 3 * heads, size: headDim },
      },
      {
        ...linear('attention.output', 'attn.c_proj', hiddenSize, hiddenSize, 'attention.context', 'attention.result'),
        heads: { axis: 1, count: heads, size: headDim },
      },
      linear('mlp.up', 'mlp.c_fc', intermediateSize, hiddenSize, 'mlp.input', 'mlp.up'),
      linear('mlp.down', 'mlp.c_proj', hiddenSize, intermediateSize, 'mlp.hidden', 'mlp.result'),
    ],
    otherReaders: ['residual', 'attention.qkv', 'attention.result', 'mlp.up', 'mlp.result'],
    residualWriters: ['attention.output', 'mlp.down'],
  };
}

function norm(config: ModelConfig, name: string, stored: string, output: string): NormNode {
  return {
    name,
    kind: 'layer',
    gain: `${stored}.weight`,
    bias: `${stored}.bias`,
    epsilon: config.normEpsilon,
    features: config.hiddenSize,
    input: 'residual',
    output,
  };
}

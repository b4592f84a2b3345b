import type { BlockGraph, LinearNode, ModelGraph, NormNode } from '@halftone/tensor';
import type { ArchitectureName } from '../architectures/index.js';
import type { ModelConfig } from '../config.js';
import { activationName, count, flag, formatError, type JsonObject, positive, tokenIds } from './config-fields.js';
import { MAX_CONTEXT, MAX_FEATURES, MAX_LAYERS, MAX_VOCABULARY } from './config-limits.js';
import { parseRope, parseWindows } from './rope-fields.js';

/** Where the members of the family differ. */
export interface LlamaVariant {
  readonly architecture: ArchitectureName;
  readonly contextLength: number;
  readonly windows: 'none' | 'all' | 'qwen';
  /** Biases of query, key and value, of the attention output, and of the MLP: fixed, or read from config.json. */
  readonly biases: (json: JsonObject) => { readonly query: boolean; readonly output: boolean; readonly mlp: boolean };
  readonly headNorms: boolean;
  /** Dimension of a head where config.json does not say; default `hidden_size / num_attention_heads`. */
  readonly headDim?: number;
}

export function parseLlamaFamily(json: JsonObject, variant: LlamaVariant): ModelConfig {
  const hiddenSize = count(json, 'hidden_size', MAX_FEATURES);
  const layers = count(json, 'num_hidden_layers', MAX_LAYERS);
  const heads = count(json, 'num_attention_heads', MAX_FEATURES);
  const kvHeads = count(json, 'num_key_value_heads', heads, heads);
  if (heads % kvHeads !== 0)
    throw formatError('num_key_value_heads', kvHeads, `a divisor of num_attention_heads ${heads}`);
  const headDim = count(json, 'head_dim', MAX_FEATURES, variant.headDim ?? hiddenSize / heads);
  if (headDim % 2 !== 0)
    throw formatError('head_dim', headDim, 'even, because rotary positions turn pairs of channels');
  const vocabSize = count(json, 'vocab_size', MAX_VOCABULARY);
  const biases = variant.biases(json);
  return {
    architecture: variant.architecture,
    layers,
    hiddenSize,
    intermediateSize: count(json, 'intermediate_size', MAX_FEATURES),
    heads,
    kvHeads,
    headDim,
    vocabSize,
    contextLength: count(json, 'max_position_embeddings', MAX_CONTEXT, variant.contextLength),
    norm: 'rms',
    normEpsilon: positive(json, 'rms_norm_eps', 1e-6),
    activation: activationName(json, 'hidden_act', 'silu'),
    gatedMlp: true,
    rope: parseRope(json, headDim),
    queryBias: biases.query,
    outputBias: biases.output,
    mlpBias: biases.mlp,
    headNorms: variant.headNorms,
    windows: parseWindows(json, layers, variant.windows),
    tiedHead: flag(json, 'tie_word_embeddings', false),
    bosTokens: tokenIds(json, 'bos_token_id', vocabSize),
    eosTokens: tokenIds(json, 'eos_token_id', vocabSize),
  };
}

export function llamaFamilyGraph(config: ModelConfig, prefix: string): ModelGraph {
  const { hiddenSize, vocabSize, tiedHead } = config;
  const embedding = `${prefix}embed_tokens.weight`;
  return {
    blocks: Array.from({ length: config.layers }, (_, index) => blockGraph(config, index, `${prefix}layers.${index}.`)),
    embedding,
    finalNorm: norm(config, 'final.norm', `${prefix}norm.weight`, hiddenSize, 'residual', 'head.input'),
    head: {
      name: 'head',
      weight: tiedHead ? embedding : 'lm_head.weight',
      inFeatures: hiddenSize,
      outFeatures: vocabSize,
      input: 'head.input',
      output: 'logits',
    },
    tiedHead,
  };
}

function blockGraph(config: ModelConfig, index: number, prefix: string): BlockGraph {
  const rotated = config.headNorms
    ? ['attention.query.normed', 'attention.key.normed']
    : ['attention.query', 'attention.key'];
  return {
    index,
    norms: blockNorms(config, prefix),
    linears: blockLinears(config, prefix),
    otherReaders: ['residual', ...rotated, 'attention.value', 'attention.result', 'mlp.gate', 'mlp.up', 'mlp.result'],
    residualWriters: ['attention.output', 'mlp.down'],
  };
}

function blockNorms(config: ModelConfig, prefix: string): NormNode[] {
  const { hiddenSize, headDim, headNorms } = config;
  const headNorm = (name: string, stored: string, edge: string) =>
    norm(config, name, `${prefix}self_attn.${stored}.weight`, headDim, edge, `${edge}.normed`);
  return [
    norm(config, 'attention.norm', `${prefix}input_layernorm.weight`, hiddenSize, 'residual', 'attention.input'),
    ...(headNorms
      ? [
          headNorm('attention.queryNorm', 'q_norm', 'attention.query'),
          headNorm('attention.keyNorm', 'k_norm', 'attention.key'),
        ]
      : []),
    norm(config, 'mlp.norm', `${prefix}post_attention_layernorm.weight`, hiddenSize, 'residual', 'mlp.input'),
  ];
}

function blockLinears(config: ModelConfig, prefix: string): LinearNode[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, queryBias, outputBias, mlpBias } = config;
  const linear = (stored: string, bias: boolean, node: Omit<LinearNode, 'weight' | 'bias'>): LinearNode => ({
    ...node,
    weight: `${prefix}${stored}.weight`,
    ...(bias ? { bias: `${prefix}${stored}.bias` } : {}),
  });
  const toHeads = (name: string, stored: string, count: number) =>
    linear(stored, queryBias, {
      name,
      outFeatures: count * headDim,
      inFeatures: hiddenSize,
      input: 'attention.input',
      output: name,
      heads: { axis: 0, count, size: headDim },
    });
  const toIntermediate = (name: string, stored: string) =>
    linear(stored, mlpBias, {
      name,
      outFeatures: intermediateSize,
      inFeatures: hiddenSize,
      input: 'mlp.input',
      output: name,
    });
  return [
    toHeads('attention.query', 'self_attn.q_proj', heads),
    toHeads('attention.key', 'self_attn.k_proj', kvHeads),
    toHeads('attention.value', 'self_attn.v_proj', kvHeads),
    linear('self_attn.o_proj', outputBias, {
      name: 'attention.output',
      outFeatures: hiddenSize,
      inFeatures: heads * headDim,
      input: 'attention.context',
      output: 'attention.result',
      heads: { axis: 1, count: heads, size: headDim },
    }),
    toIntermediate('mlp.gate', 'mlp.gate_proj'),
    toIntermediate('mlp.up', 'mlp.up_proj'),
    linear('mlp.down_proj', mlpBias, {
      name: 'mlp.down',
      outFeatures: hiddenSize,
      inFeatures: intermediateSize,
      input: 'mlp.hidden',
      output: 'mlp.result',
    }),
  ];
}

function norm(
  config: ModelConfig,
  name: string,
  gain: string,
  features: number,
  input: string,
  output: string,
): NormNode {
  return { name, kind: 'rms', gain, epsilon: config.normEpsilon, features, input, output };
}

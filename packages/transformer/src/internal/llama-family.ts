import type { BlockGraph, LinearNode, ModelGraph, NormNode } from '@halftone/tensor';
import type { ArchitectureName } from '../architectures/index.js';
import type { ActivationName, ModelConfig } from '../config.js';
import { count, flag, formatError, type JsonObject, positive, tokenIds, unsupported } from './config-fields.js';
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

export const MAX_LAYERS = 4096;
export const MAX_FEATURES = 2 ** 20;
export const MAX_VOCABULARY = 2 ** 24;
export const MAX_CONTEXT = 2 ** 31 - 1;

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
    activation: parseActivation(json, 'hidden_act', 'silu'),
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

export function parseActivation(json: JsonObject, key: string, fallback: string): ActivationName {
  const value = json[key] ?? fallback;
  switch (value) {
    case 'silu':
    case 'swish':
      return 'silu';
    case 'gelu':
      return 'gelu';
    case 'gelu_new':
    case 'gelu_pytorch_tanh':
      return 'gelu_tanh';
    default:
      throw unsupported(key, value, 'known activations are silu, gelu, gelu_new and gelu_pytorch_tanh');
  }
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
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim, headNorms } = config;
  const linear = (
    name: string,
    stored: string,
    shape: readonly [number, number],
    edges: readonly [string, string],
    bias: boolean,
    split?: LinearNode['heads'],
  ): LinearNode => ({
    name,
    weight: `${prefix}${stored}.weight`,
    ...(bias ? { bias: `${prefix}${stored}.bias` } : {}),
    outFeatures: shape[0],
    inFeatures: shape[1],
    input: edges[0],
    output: edges[1],
    ...(split ? { heads: split } : {}),
  });
  const rows = (count: number) => ({ axis: 0, count, size: headDim }) as const;
  const columns = { axis: 1, count: heads, size: headDim } as const;
  const { queryBias, outputBias, mlpBias } = config;
  return {
    index,
    norms: [
      norm(config, 'attention.norm', `${prefix}input_layernorm.weight`, hiddenSize, 'residual', 'attention.input'),
      ...(headNorms
        ? [
            norm(
              config,
              'attention.queryNorm',
              `${prefix}self_attn.q_norm.weight`,
              headDim,
              'attention.query',
              'attention.query.normed',
            ),
            norm(
              config,
              'attention.keyNorm',
              `${prefix}self_attn.k_norm.weight`,
              headDim,
              'attention.key',
              'attention.key.normed',
            ),
          ]
        : []),
      norm(config, 'mlp.norm', `${prefix}post_attention_layernorm.weight`, hiddenSize, 'residual', 'mlp.input'),
    ],
    linears: [
      linear(
        'attention.query',
        'self_attn.q_proj',
        [heads * headDim, hiddenSize],
        ['attention.input', 'attention.query'],
        queryBias,
        rows(heads),
      ),
      linear(
        'attention.key',
        'self_attn.k_proj',
        [kvHeads * headDim, hiddenSize],
        ['attention.input', 'attention.key'],
        queryBias,
        rows(kvHeads),
      ),
      linear(
        'attention.value',
        'self_attn.v_proj',
        [kvHeads * headDim, hiddenSize],
        ['attention.input', 'attention.value'],
        queryBias,
        rows(kvHeads),
      ),
      linear(
        'attention.output',
        'self_attn.o_proj',
        [hiddenSize, heads * headDim],
        ['attention.context', 'attention.result'],
        outputBias,
        columns,
      ),
      linear('mlp.gate', 'mlp.gate_proj', [intermediateSize, hiddenSize], ['mlp.input', 'mlp.gate'], mlpBias),
      linear('mlp.up', 'mlp.up_proj', [intermediateSize, hiddenSize], ['mlp.input', 'mlp.up'], mlpBias),
      linear('mlp.down', 'mlp.down_proj', [hiddenSize, intermediateSize], ['mlp.hidden', 'mlp.result'], mlpBias),
    ],
    otherReaders: [
      'residual',
      ...(headNorms ? ['attention.query.normed', 'attention.key.normed'] : ['attention.query', 'attention.key']),
      'attention.value',
      'attention.result',
      'mlp.gate',
      'mlp.up',
      'mlp.result',
    ],
    residualWriters: ['attention.output', 'mlp.down'],
  };
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

import { type Checkpoint, encode, type LazyTensor, type PackedTensor } from '@halftone/tensor';
import { ARCHITECTURES, graphTensors, type ModelSource, modelSource, parseConfig } from '../src/index.js';

/** Small deterministic pseudo-random numbers in (-1, 1). */
export function noise(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * 0.999;
  };
}

export interface Weight {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export function memoryCheckpoint(weights: ReadonlyMap<string, Weight>): Checkpoint {
  const tensors = new Map<string, LazyTensor>();
  for (const [name, { shape, values }] of weights) {
    tensors.set(name, {
      kind: 'lazy',
      name,
      dtype: 'f32',
      shape,
      byteLength: values.byteLength,
      async read(rows): Promise<PackedTensor> {
        if (rows === undefined) return encode(values, 'f32', shape);
        const width = shape.length < 2 ? 1 : values.length / shape[0];
        const part = values.subarray(rows.start * width, rows.end * width);
        return encode(part, 'f32', [rows.end - rows.start, ...shape.slice(1)]);
      },
    });
  }
  return { format: 'memory', metadata: new Map(), tensors, byteLength: 0, close: async () => {} };
}

/** Random weights for a config; gains around 1. */
export function randomWeights(configJson: object, start = 1): Map<string, Weight> {
  const config = parseConfig(configJson);
  const architecture = ARCHITECTURES[config.architecture];
  const next = noise(start);
  const weights = new Map<string, Weight>();
  for (const [name, shape] of graphTensors(architecture.graph(config, architecture.prefix), config)) {
    const size = shape.reduce((product, n) => product * n, 1);
    const isGain = shape.length === 1 && name.endsWith('weight');
    const scale = shape.length === 1 ? 0.3 : 1.5 / Math.sqrt(shape[1]);
    weights.set(name, { shape, values: Float32Array.from({ length: size }, () => (isGain ? 1 : 0) + scale * next()) });
  }
  return weights;
}

export function tinySource(
  configJson: Record<string, unknown>,
  start = 1,
): { source: ModelSource; weights: Map<string, Weight> } {
  const weights = randomWeights(configJson, start);
  return { source: modelSource({ configJson, checkpoint: memoryCheckpoint(weights) }), weights };
}

const BASE = {
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 61,
  max_position_embeddings: 96,
  rms_norm_eps: 1e-5,
};

/** One small config of each architecture, with what is special about it switched on. */
export const TINY = {
  llama: {
    ...BASE,
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    rope_theta: 500,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 4,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
    attention_bias: true,
    mlp_bias: true,
  },
  mistral: {
    ...BASE,
    model_type: 'mistral',
    head_dim: 10,
    sliding_window: 5,
    rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 100 },
  },
  qwen2: {
    ...BASE,
    model_type: 'qwen2',
    tie_word_embeddings: true,
    use_sliding_window: true,
    sliding_window: 4,
    max_window_layers: 1,
    hidden_act: 'gelu_pytorch_tanh',
  },
  qwen3: {
    ...BASE,
    model_type: 'qwen3',
    head_dim: 8,
    num_key_value_heads: 1,
    layer_types: ['full_attention', 'full_attention', 'full_attention'],
  },
  gpt2: {
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    n_embd: 20,
    n_layer: 2,
    n_head: 2,
    n_positions: 80,
    vocab_size: 53,
    activation_function: 'gelu',
  },
} as const satisfies Record<string, Record<string, unknown>>;

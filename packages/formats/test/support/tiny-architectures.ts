import type { Config, Weight } from './reference-forward.js';

const gemma = {
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 24,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  hidden_activation: 'gelu_pytorch_tanh',
  attention_bias: false,
  tie_word_embeddings: true,
};

const phi = {
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 24,
  max_position_embeddings: 64,
  tie_word_embeddings: false,
};

const FULL = 'full_attention';
const SLIDING = 'sliding_attention';

/** config.json of small models of the architectures that only conversion knows. */
export const TINY_ARCHITECTURES = {
  gemma: {
    ...gemma,
    architectures: ['GemmaForCausalLM'],
    model_type: 'gemma',
    rope_theta: 10_000,
  },
  gemma2: {
    ...gemma,
    architectures: ['Gemma2ForCausalLM'],
    model_type: 'gemma2',
    rope_theta: 10_000,
    query_pre_attn_scalar: 16,
    sliding_window: 4,
    layer_types: [SLIDING, FULL, SLIDING, FULL],
    attn_logit_softcapping: 2.5,
    final_logit_softcapping: 5,
  },
  gemma3_text: {
    ...gemma,
    architectures: ['Gemma3ForCausalLM'],
    model_type: 'gemma3_text',
    rope_theta: 1_000_000,
    rope_local_base_freq: 5000,
    rope_scaling: { rope_type: 'linear', factor: 8 },
    query_pre_attn_scalar: 16,
    sliding_window: 4,
    layer_types: [SLIDING, SLIDING, FULL, SLIDING],
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
  },
  phi: {
    ...phi,
    architectures: ['PhiForCausalLM'],
    model_type: 'phi',
    layer_norm_eps: 1e-5,
    rope_theta: 10_000,
    partial_rotary_factor: 0.5,
    hidden_act: 'gelu_new',
  },
  phi3: {
    ...phi,
    architectures: ['Phi3ForCausalLM'],
    model_type: 'phi3',
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    partial_rotary_factor: 0.75,
    hidden_act: 'silu',
    max_position_embeddings: 1024,
    // llama.cpp rounds its context up to 256 positions and takes the long factors beyond this.
    original_max_position_embeddings: 256,
    sliding_window: null,
    rope_scaling: {
      type: 'longrope',
      long_factor: [1, 1.5, 2.25, 4, 7.5, 12],
      short_factor: [1, 1, 1.25, 1.5, 1.75, 2],
    },
  },
  bert: {
    architectures: ['BertModel'],
    model_type: 'bert',
    hidden_size: 32,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    vocab_size: 24,
    max_position_embeddings: 16,
    type_vocab_size: 2,
    layer_norm_eps: 1e-12,
    hidden_act: 'gelu',
    position_embedding_type: 'absolute',
  },
} as const;

/** Names and shapes that transformers saves for such a config. */
export function tinyShapes(config: Config): Map<string, { shape: readonly number[] }> {
  const shapes = new Map<string, { shape: readonly number[] }>();
  const add = (name: string, ...shape: number[]) => shapes.set(name, { shape });
  const n = (key: string) => config[key] as number;
  const e = n('hidden_size');
  const linear = (name: string, out: number, input: number, bias: boolean) => {
    add(`${name}.weight`, out, input);
    if (bias) add(`${name}.bias`, out);
  };
  const layerNorm = (name: string) => add(`${name}.weight`, e) && add(`${name}.bias`, e);
  if (config.model_type === 'bert') {
    add('embeddings.word_embeddings.weight', n('vocab_size'), e);
    add('embeddings.position_embeddings.weight', n('max_position_embeddings'), e);
    add('embeddings.token_type_embeddings.weight', n('type_vocab_size'), e);
    layerNorm('embeddings.LayerNorm');
    for (let layer = 0; layer < n('num_hidden_layers'); layer++) {
      const name = `encoder.layer.${layer}`;
      for (const part of ['query', 'key', 'value']) linear(`${name}.attention.self.${part}`, e, e, true);
      linear(`${name}.attention.output.dense`, e, e, true);
      linear(`${name}.intermediate.dense`, n('intermediate_size'), e, true);
      linear(`${name}.output.dense`, e, n('intermediate_size'), true);
      layerNorm(`${name}.attention.output.LayerNorm`);
      layerNorm(`${name}.output.LayerNorm`);
    }
    return shapes;
  }
  const headDim = (config.head_dim as number | undefined) ?? e / n('num_attention_heads');
  const rows = n('num_attention_heads') * headDim;
  const kvRows = n('num_key_value_heads') * headDim;
  const phi2 = config.model_type === 'phi';
  const phi3 = config.model_type === 'phi3';
  add('model.embed_tokens.weight', n('vocab_size'), e);
  for (let layer = 0; layer < n('num_hidden_layers'); layer++) {
    const name = `model.layers.${layer}`;
    if (phi2) layerNorm(`${name}.input_layernorm`);
    else add(`${name}.input_layernorm.weight`, e);
    if (phi3) linear(`${name}.self_attn.qkv_proj`, rows + 2 * kvRows, e, false);
    else {
      linear(`${name}.self_attn.q_proj`, rows, e, phi2);
      linear(`${name}.self_attn.k_proj`, kvRows, e, phi2);
      linear(`${name}.self_attn.v_proj`, kvRows, e, phi2);
    }
    linear(`${name}.self_attn.${phi2 ? 'dense' : 'o_proj'}`, e, rows, phi2);
    if (phi2) {
      linear(`${name}.mlp.fc1`, n('intermediate_size'), e, true);
      linear(`${name}.mlp.fc2`, e, n('intermediate_size'), true);
      continue;
    }
    add(`${name}.post_attention_layernorm.weight`, e);
    if (phi3) linear(`${name}.mlp.gate_up_proj`, 2 * n('intermediate_size'), e, false);
    else for (const part of ['gate', 'up']) linear(`${name}.mlp.${part}_proj`, n('intermediate_size'), e, false);
    linear(`${name}.mlp.down_proj`, e, n('intermediate_size'), false);
    if (phi3 || config.model_type === 'gemma') continue;
    for (const part of ['pre', 'post']) add(`${name}.${part}_feedforward_layernorm.weight`, e);
    if (config.model_type === 'gemma3_text') {
      for (const part of ['q', 'k']) add(`${name}.self_attn.${part}_norm.weight`, headDim);
    }
  }
  if (phi2) layerNorm('model.final_layernorm');
  else add('model.norm.weight', e);
  if (config.tie_word_embeddings === false) linear('lm_head', n('vocab_size'), e, phi2);
  return shapes;
}

/** Random weights, the same for the same config, of a size that keeps activations near 1. All are multiples of 2^-12. */
export function tinyWeights(config: Config, scale = 0.4): Map<string, Weight> {
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const weights = new Map<string, Weight>();
  for (const [name, { shape }] of tinyShapes(config)) {
    const count = shape.reduce((product, size) => product * size, 1);
    const shift = /norm\.weight$/i.test(name) && !String(config.model_type).startsWith('gemma') ? 1 : 0;
    const values = Float32Array.from({ length: count }, () => shift + Math.round(random() * 2 * scale * 4096) / 4096);
    weights.set(name, { shape, values });
  }
  return weights;
}

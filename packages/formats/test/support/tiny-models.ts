type Config = Readonly<Record<string, unknown>>;

const llamaLike = {
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  vocab_size: 6,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'silu',
};

/** config.json of small models, one for each architecture. */
export const TINY_MODELS = {
  llama: {
    ...llamaLike,
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: false,
  },
  mistral: {
    ...llamaLike,
    architectures: ['MistralForCausalLM'],
    model_type: 'mistral',
    sliding_window: 32,
    tie_word_embeddings: false,
  },
  qwen2: {
    ...llamaLike,
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    rope_theta: 1_000_000,
    tie_word_embeddings: true,
  },
  qwen3: {
    ...llamaLike,
    architectures: ['Qwen3ForCausalLM'],
    model_type: 'qwen3',
    head_dim: 16,
    attention_bias: false,
    tie_word_embeddings: true,
  },
  gpt2: {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    n_embd: 16,
    n_layer: 2,
    n_head: 2,
    n_positions: 32,
    vocab_size: 6,
    layer_norm_epsilon: 1e-5,
    activation_function: 'gelu_new',
    tie_word_embeddings: true,
  },
} as const;

/** Names and shapes that transformers saves for such a config. */
export function tinyTensors(config: Config): Map<string, { shape: readonly number[] }> {
  const tensors = new Map<string, { shape: readonly number[] }>();
  const add = (name: string, ...shape: number[]) => tensors.set(name, { shape });
  const n = (key: string) => config[key] as number;
  if (config.model_type === 'gpt2') {
    const e = n('n_embd');
    const norm = (name: string) => add(`${name}.weight`, e) && add(`${name}.bias`, e);
    const conv = (name: string, input: number, output: number) =>
      add(`${name}.weight`, input, output) && add(`${name}.bias`, output);
    add('transformer.wte.weight', n('vocab_size'), e);
    add('transformer.wpe.weight', n('n_positions'), e);
    for (let layer = 0; layer < n('n_layer'); layer++) {
      const prefix = `transformer.h.${layer}`;
      norm(`${prefix}.ln_1`);
      norm(`${prefix}.ln_2`);
      conv(`${prefix}.attn.c_attn`, e, 3 * e);
      conv(`${prefix}.attn.c_proj`, e, e);
      conv(`${prefix}.mlp.c_fc`, e, 4 * e);
      conv(`${prefix}.mlp.c_proj`, 4 * e, e);
    }
    norm('transformer.ln_f');
    return tensors;
  }
  const hidden = n('hidden_size');
  const rows = n('num_attention_heads') * n('head_dim');
  const kvRows = n('num_key_value_heads') * n('head_dim');
  const attentionBias = config.model_type === 'qwen2' || config.attention_bias === true;
  const linear = (name: string, output: number, input: number, bias: boolean) => {
    add(`${name}.weight`, output, input);
    if (bias) add(`${name}.bias`, output);
  };
  add('model.embed_tokens.weight', n('vocab_size'), hidden);
  for (let layer = 0; layer < n('num_hidden_layers'); layer++) {
    const prefix = `model.layers.${layer}`;
    add(`${prefix}.input_layernorm.weight`, hidden);
    add(`${prefix}.post_attention_layernorm.weight`, hidden);
    linear(`${prefix}.self_attn.q_proj`, rows, hidden, attentionBias);
    linear(`${prefix}.self_attn.k_proj`, kvRows, hidden, attentionBias);
    linear(`${prefix}.self_attn.v_proj`, kvRows, hidden, attentionBias);
    linear(`${prefix}.self_attn.o_proj`, hidden, rows, attentionBias && config.model_type === 'llama');
    if (config.model_type === 'qwen3') {
      add(`${prefix}.self_attn.q_norm.weight`, n('head_dim'));
      add(`${prefix}.self_attn.k_norm.weight`, n('head_dim'));
    }
    for (const name of ['gate_proj', 'up_proj'])
      linear(`${prefix}.mlp.${name}`, n('intermediate_size'), hidden, config.mlp_bias === true);
    linear(`${prefix}.mlp.down_proj`, hidden, n('intermediate_size'), config.mlp_bias === true);
  }
  add('model.norm.weight', hidden);
  if (config.tie_word_embeddings !== true) add('lm_head.weight', n('vocab_size'), hidden);
  return tensors;
}

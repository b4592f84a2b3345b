import {
  headSizes,
  type Json,
  LIMITS,
  positive,
  requireActivation,
  rotaryDimension,
  unsupported,
  whole,
} from '../config-fields.js';
import { positiveNumberAt } from '../read-metadata.js';
import { describeRopeScaling } from '../rope-scaling.js';
import {
  type ArchitectureForm,
  bias,
  biasedLinear,
  type GgufModelFile,
  keyList,
  kvRows,
  layerNorm,
  type ModelDescription,
  type ModelSizes,
  queryRows,
  type TensorRole,
  vocabularyRows,
  weight,
} from './form.js';
import { decoderSizes } from './llama.js';

/**
 * Phi 1, 1.5 and 2 (`phi`): attention and feed-forward side by side after one layer norm, biases everywhere, rotary
 * positions on a part of each head. Source: llama.cpp, conversion/phi.py and src/models/phi2.cpp.
 */
export const phi2: ArchitectureForm = {
  roles: roles(),
  prefix: 'model.',
  ropeTensors: [],
  ignored: /\.rotary_emb\.inv_freq$/,
  describe,
  configJson,
};

function roles(): TensorRole[] {
  const layer = 'model.layers.{}';
  const e = (s: ModelSizes) => s.embedding;
  const feedForward = (s: ModelSizes) => s.feedForward;
  return [
    weight('token_embd', 'model.embed_tokens', vocabularyRows),
    ...layerNorm('blk.{}.attn_norm', `${layer}.input_layernorm`),
    ...biasedLinear('blk.{}.attn_q', `${layer}.self_attn.q_proj`, queryRows, e),
    ...biasedLinear('blk.{}.attn_k', `${layer}.self_attn.k_proj`, kvRows, e),
    ...biasedLinear('blk.{}.attn_v', `${layer}.self_attn.v_proj`, kvRows, e),
    ...biasedLinear('blk.{}.attn_output', `${layer}.self_attn.dense`, e, queryRows),
    ...biasedLinear('blk.{}.ffn_up', `${layer}.mlp.fc1`, feedForward, e),
    ...biasedLinear('blk.{}.ffn_down', `${layer}.mlp.fc2`, e, feedForward),
    ...layerNorm('output_norm', 'model.final_layernorm'),
    weight('output', 'lm_head', vocabularyRows),
    bias('output', 'lm_head', (s) => [s.vocabulary], { required: true }),
  ];
}

function describe(config: Json): ModelDescription {
  requireActivation(config.hidden_act ?? 'gelu_new', ['gelu_new', 'gelu_pytorch_tanh']);
  if (config.qk_layernorm === true) throw unsupported('qk_layernorm has no GGUF form for phi');
  if (config.tie_word_embeddings === true) throw unsupported('a tied head has no GGUF form for phi');
  const heads = headSizes(config);
  requireEqualHeads(heads);
  const rope = (config.rope_parameters ?? {}) as Json;
  describeRopeScaling((config.rope_scaling ?? config.rope_parameters) as Json | null | undefined, [], 0);
  const sizes = decoderSizes(
    { ...config, intermediate_size: whole(config, 'intermediate_size', LIMITS.width, 4 * heads.embedding) },
    heads,
    rotaryDimension(config, heads.headDim, 0.5),
  );
  return {
    architecture: 'phi2',
    sizes,
    tiedHead: false,
    keys: keyList('phi2', [
      ['attention.head_count_kv', 'u32', sizes.kvHeads],
      ['attention.layer_norm_epsilon', 'f32', positive(config, 'layer_norm_eps', 1e-5)],
      ['rope.dimension_count', 'u32', sizes.rotaryDim],
      ['rope.freq_base', 'f32', positive({ t: config.rope_theta ?? rope.rope_theta }, 't', 10_000)],
    ]),
    extraTensors: [],
  };
}

/** llama.cpp gives phi's projections the width of the embedding. Throws `UNSUPPORTED` for heads of another size. */
export function requireEqualHeads({ embedding, heads, headDim }: ReturnType<typeof headSizes>): void {
  if (heads * headDim !== embedding) {
    throw unsupported(
      `${heads} heads of size ${headDim} are not the embedding of ${embedding}, as GGUF has it for phi`,
    );
  }
}

async function configJson({ metadata, sizes }: GgufModelFile): Promise<Json> {
  return {
    architectures: ['PhiForCausalLM'],
    model_type: 'phi',
    hidden_size: sizes.embedding,
    intermediate_size: sizes.feedForward,
    num_hidden_layers: sizes.blocks,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    max_position_embeddings: sizes.context,
    layer_norm_eps: positiveNumberAt(metadata, 'phi2.attention.layer_norm_epsilon'),
    rope_theta: positiveNumberAt(metadata, 'phi2.rope.freq_base', 10_000),
    partial_rotary_factor: sizes.rotaryDim / sizes.headDim,
    hidden_act: 'gelu_new',
    qk_layernorm: false,
  };
}

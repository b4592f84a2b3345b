import { headDimension, type Json, LIMITS, positive, requireActivation, whole } from '../config-fields.js';
import { positiveNumberAt } from '../read-metadata.js';
import {
  type ArchitectureForm,
  biasedLinear,
  type GgufModelFile,
  keyList,
  layerNorm,
  type ModelDescription,
  type ModelSizes,
  type TensorRole,
  vocabularyRows,
  weight,
} from './form.js';

/** GPT-2. Source: gguf-py, tensor_mapping.py; llama.cpp, src/models/gpt2.cpp. */
export const gpt2: ArchitectureForm = {
  roles: roles(),
  prefix: 'transformer.',
  ropeTensors: [],
  ignored: /\.attn\.(bias|masked_bias)$/,
  describe,
  configJson,
};

function roles(): TensorRole[] {
  const layer = 'transformer.h.{}';
  const e = (s: ModelSizes) => s.embedding;
  const conv1d = { conv1d: true } as const;
  return [
    weight('token_embd', 'transformer.wte', vocabularyRows),
    weight('position_embd', 'transformer.wpe', (s) => [s.context, s.embedding], { float: true }),
    ...layerNorm('blk.{}.attn_norm', `${layer}.ln_1`),
    ...biasedLinear('blk.{}.attn_qkv', `${layer}.attn.c_attn`, (s) => 3 * s.embedding, e, conv1d),
    ...biasedLinear('blk.{}.attn_output', `${layer}.attn.c_proj`, e, e, conv1d),
    ...layerNorm('blk.{}.ffn_norm', `${layer}.ln_2`),
    ...biasedLinear('blk.{}.ffn_up', `${layer}.mlp.c_fc`, (s) => s.feedForward, e, conv1d),
    ...biasedLinear('blk.{}.ffn_down', `${layer}.mlp.c_proj`, e, (s) => s.feedForward, conv1d),
    ...layerNorm('output_norm', 'transformer.ln_f'),
    weight('output', 'lm_head', vocabularyRows, { required: false }),
  ];
}

function describe(config: Json): ModelDescription {
  requireActivation(config.activation_function ?? 'gelu_new', ['gelu_new', 'gelu_pytorch_tanh']);
  const embedding = whole(config, 'n_embd', LIMITS.width);
  const heads = whole(config, 'n_head', LIMITS.heads);
  const headDim = headDimension(embedding, heads);
  return {
    architecture: 'gpt2',
    sizes: {
      vocabulary: whole(config, 'vocab_size', LIMITS.vocabulary),
      context: whole(config, 'n_positions', LIMITS.context, config.n_ctx),
      embedding,
      blocks: whole(config, 'n_layer', LIMITS.blocks),
      feedForward: whole(config, 'n_inner', LIMITS.width, 4 * embedding),
      heads,
      kvHeads: heads,
      headDim,
      rotaryDim: headDim,
      tokenTypes: 0,
    },
    tiedHead: config.tie_word_embeddings !== false,
    keys: keyList('gpt2', [['attention.layer_norm_epsilon', 'f32', positive(config, 'layer_norm_epsilon', 1e-5)]]),
    extraTensors: [],
  };
}

async function configJson({ metadata, sizes }: GgufModelFile): Promise<Json> {
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    n_embd: sizes.embedding,
    n_layer: sizes.blocks,
    n_head: sizes.heads,
    n_inner: sizes.feedForward,
    n_positions: sizes.context,
    n_ctx: sizes.context,
    layer_norm_epsilon: positiveNumberAt(metadata, 'gpt2.attention.layer_norm_epsilon'),
    activation_function: 'gelu_new',
  };
}

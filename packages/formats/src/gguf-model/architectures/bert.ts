import { headSizes, type Json, LIMITS, positive, requireActivation, unsupported, whole } from '../config-fields.js';
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

/**
 * BERT as an encoder of texts: embeddings of tokens, positions and segments, then blocks with a layer norm after each
 * part. The pooler and the pre-training heads have no place in GGUF. llama.cpp computes `gelu` by its tanh form and gives
 * every token segment 0. Source: llama.cpp, conversion/bert.py and src/models/bert.cpp.
 */
export const bert: ArchitectureForm = {
  roles: roles(),
  prefix: 'bert.',
  ropeTensors: [],
  ignored: /^(bert\.)?(embeddings\.position_ids|pooler\.dense\.(weight|bias)|cls\.(predictions|seq_relationship)\..*)$/,
  describe,
  configJson,
};

function roles(): TensorRole[] {
  const layer = 'encoder.layer.{}';
  const e = (s: ModelSizes) => s.embedding;
  const feedForward = (s: ModelSizes) => s.feedForward;
  const float = { float: true };
  return [
    weight('token_embd', 'embeddings.word_embeddings', vocabularyRows),
    weight('token_types', 'embeddings.token_type_embeddings', (s) => [s.tokenTypes, s.embedding], float),
    weight('position_embd', 'embeddings.position_embeddings', (s) => [s.context, s.embedding], float),
    ...layerNorm('token_embd_norm', 'embeddings.LayerNorm'),
    ...biasedLinear('blk.{}.attn_q', `${layer}.attention.self.query`, e, e),
    ...biasedLinear('blk.{}.attn_k', `${layer}.attention.self.key`, e, e),
    ...biasedLinear('blk.{}.attn_v', `${layer}.attention.self.value`, e, e),
    ...biasedLinear('blk.{}.attn_output', `${layer}.attention.output.dense`, e, e),
    ...layerNorm('blk.{}.attn_output_norm', `${layer}.attention.output.LayerNorm`),
    ...biasedLinear('blk.{}.ffn_up', `${layer}.intermediate.dense`, feedForward, e),
    ...biasedLinear('blk.{}.ffn_down', `${layer}.output.dense`, e, feedForward),
    ...layerNorm('blk.{}.layer_output_norm', `${layer}.output.LayerNorm`),
  ];
}

function describe(config: Json): ModelDescription {
  requireActivation(config.hidden_act ?? 'gelu', ['gelu', 'gelu_new', 'gelu_pytorch_tanh']);
  const positions = config.position_embedding_type ?? 'absolute';
  if (positions !== 'absolute') throw unsupported(`position_embedding_type '${String(positions)}' has no GGUF form`);
  if (config.is_decoder === true) throw unsupported('a bert decoder has no GGUF form');
  const { embedding, heads, headDim } = headSizes({ ...config, num_key_value_heads: undefined, head_dim: undefined });
  const tokenTypes = whole(config, 'type_vocab_size', LIMITS.tokenTypes, 2);
  return {
    architecture: 'bert',
    sizes: {
      vocabulary: whole(config, 'vocab_size', LIMITS.vocabulary),
      context: whole(config, 'max_position_embeddings', LIMITS.context),
      embedding,
      blocks: whole(config, 'num_hidden_layers', LIMITS.blocks),
      feedForward: whole(config, 'intermediate_size', LIMITS.width),
      heads,
      kvHeads: heads,
      headDim,
      rotaryDim: headDim,
      tokenTypes,
    },
    tiedHead: true,
    keys: [
      ...keyList('bert', [
        ['attention.layer_norm_epsilon', 'f32', positive(config, 'layer_norm_eps', 1e-12)],
        ['attention.causal', 'bool', false],
      ]),
      { key: 'tokenizer.ggml.token_type_count', type: 'u32', value: tokenTypes },
    ],
    extraTensors: [],
  };
}

async function configJson({ metadata, sizes }: GgufModelFile): Promise<Json> {
  return {
    architectures: ['BertModel'],
    model_type: 'bert',
    hidden_size: sizes.embedding,
    intermediate_size: sizes.feedForward,
    num_hidden_layers: sizes.blocks,
    num_attention_heads: sizes.heads,
    max_position_embeddings: sizes.context,
    type_vocab_size: sizes.tokenTypes,
    layer_norm_eps: positiveNumberAt(metadata, 'bert.attention.layer_norm_epsilon'),
    hidden_act: 'gelu',
    position_embedding_type: 'absolute',
  };
}

import type { GgufMetadataEntry } from '../../gguf-types.js';
import {
  headSizes,
  type Json,
  LIMITS,
  positive,
  requireActivation,
  unsupported,
  whole,
  withoutUndefined,
} from '../config-fields.js';
import { positiveNumberAt, slidingWindowAt } from '../read-metadata.js';
import { describeRopeScaling, ropeFactorTensors, ropeScalingKeys, ropeScalingOf } from '../rope-scaling.js';
import {
  type ArchitectureForm,
  bias,
  embeddingShape,
  type GgufModelFile,
  headShape,
  keyList,
  kvRows,
  type ModelDescription,
  type ModelSizes,
  norm,
  queryRows,
  type TensorRole,
  vocabularyRows,
  weight,
} from './form.js';

type LlamaLike = 'llama' | 'qwen2' | 'qwen3';

/** Llama, Mistral, Qwen 2 and Qwen 3. Source: gguf-py, tensor_mapping.py; llama.cpp, src/models. */
export function llamaLike(architecture: LlamaLike): ArchitectureForm {
  return {
    roles: architecture === 'llama' ? llamaRoles() : architecture === 'qwen2' ? qwen2Roles() : qwen3Roles(),
    prefix: 'model.',
    ropeTensors: architecture === 'llama' ? ['rope_freqs.weight'] : [],
    ignored: /\.rotary_emb\.inv_freq$/,
    describe: (config) => describe(config, architecture),
    configJson: (file) => configJson(file, architecture),
  };
}

const LAYER = 'model.layers.{}';

interface DecoderDifferences {
  readonly query?: Partial<TensorRole>;
  readonly key?: Partial<TensorRole>;
  readonly gain?: Partial<TensorRole>;
  /** Hugging Face's name of the norm before the feed-forward. Default `post_attention_layernorm`. */
  readonly feedForwardNorm?: string;
}

/** Embedding, grouped attention, a gated feed-forward and a norm before each: what most decoders share. */
export function decoderRoles(different: DecoderDifferences = {}): TensorRole[] {
  const { query, key, gain, feedForwardNorm = 'post_attention_layernorm' } = different;
  return [
    weight('token_embd', 'model.embed_tokens', vocabularyRows),
    norm('blk.{}.attn_norm', `${LAYER}.input_layernorm`, embeddingShape, gain),
    weight('blk.{}.attn_q', `${LAYER}.self_attn.q_proj`, (s) => [queryRows(s), s.embedding], query),
    weight('blk.{}.attn_k', `${LAYER}.self_attn.k_proj`, (s) => [kvRows(s), s.embedding], key),
    weight('blk.{}.attn_v', `${LAYER}.self_attn.v_proj`, (s) => [kvRows(s), s.embedding]),
    weight('blk.{}.attn_output', `${LAYER}.self_attn.o_proj`, (s) => [s.embedding, queryRows(s)]),
    norm('blk.{}.ffn_norm', `${LAYER}.${feedForwardNorm}`, embeddingShape, gain),
    weight('blk.{}.ffn_gate', `${LAYER}.mlp.gate_proj`, (s) => [s.feedForward, s.embedding]),
    weight('blk.{}.ffn_up', `${LAYER}.mlp.up_proj`, (s) => [s.feedForward, s.embedding]),
    weight('blk.{}.ffn_down', `${LAYER}.mlp.down_proj`, (s) => [s.embedding, s.feedForward]),
    norm('output_norm', 'model.norm', embeddingShape, gain),
  ];
}

const HEAD = weight('output', 'lm_head', vocabularyRows, { required: false });

function attentionBiases(query: Partial<TensorRole>, key: Partial<TensorRole>): TensorRole[] {
  return [
    bias('blk.{}.attn_q', `${LAYER}.self_attn.q_proj`, (s) => [queryRows(s)], query),
    bias('blk.{}.attn_k', `${LAYER}.self_attn.k_proj`, (s) => [kvRows(s)], key),
    bias('blk.{}.attn_v', `${LAYER}.self_attn.v_proj`, (s) => [kvRows(s)]),
  ];
}

function llamaRoles(): TensorRole[] {
  const query = { rotaryHeads: 'heads' } as const;
  const key = { rotaryHeads: 'kvHeads' } as const;
  return [
    ...decoderRoles({ query, key }),
    HEAD,
    ...attentionBiases(query, key),
    bias('blk.{}.attn_output', `${LAYER}.self_attn.o_proj`, embeddingShape),
    bias('blk.{}.ffn_gate', `${LAYER}.mlp.gate_proj`, (s) => [s.feedForward]),
    bias('blk.{}.ffn_up', `${LAYER}.mlp.up_proj`, (s) => [s.feedForward]),
    bias('blk.{}.ffn_down', `${LAYER}.mlp.down_proj`, embeddingShape),
  ];
}

function qwen2Roles(): TensorRole[] {
  return [...decoderRoles(), HEAD, ...attentionBiases({}, {})];
}

function qwen3Roles(): TensorRole[] {
  return [...decoderRoles(), HEAD, ...headNorms()];
}

/** Norms of single query and key heads. */
export function headNorms(more: Partial<TensorRole> = {}): TensorRole[] {
  return [
    norm('blk.{}.attn_q_norm', `${LAYER}.self_attn.q_norm`, headShape, more),
    norm('blk.{}.attn_k_norm', `${LAYER}.self_attn.k_norm`, headShape, more),
  ];
}

function describe(config: Json, architecture: LlamaLike): ModelDescription {
  requireActivation(config.hidden_act ?? 'silu', ['silu', 'swish']);
  const heads = headSizes(config, architecture === 'qwen3' ? 128 : undefined);
  const { headDim } = heads;
  const rope = (config.rope_parameters ?? {}) as Json;
  const theta = positive({ rope_theta: config.rope_theta ?? rope.rope_theta }, 'rope_theta', 10_000);
  const scaling = describeRopeScaling(
    (config.rope_scaling ?? config.rope_parameters) as Json | null | undefined,
    architecture === 'llama' ? ['linear', 'yarn', 'llama3', 'factors'] : ['linear', 'yarn'],
    headDim,
  );
  const sizes = decoderSizes(config, heads);
  const window = usesSlidingWindow(config, sizes.blocks) ? whole(config, 'sliding_window', LIMITS.context) : undefined;
  return {
    architecture,
    sizes,
    tiedHead: config.tie_word_embeddings === true,
    keys: [
      ...decoderKeys(architecture, sizes, positive(config, 'rms_norm_eps', 1e-6)),
      ...keyList(architecture, [
        ['attention.sliding_window', 'u32', window],
        ['rope.freq_base', 'f32', theta],
        ...ropeScalingKeys(scaling),
      ]),
    ],
    extraTensors: ropeFactorTensors(scaling, theta, headDim),
  };
}

/** Sizes of a decoder that names them as llama does. */
export function decoderSizes(config: Json, heads: ReturnType<typeof headSizes>, rotaryDim = heads.headDim): ModelSizes {
  return {
    ...heads,
    vocabulary: whole(config, 'vocab_size', LIMITS.vocabulary),
    context: whole(config, 'max_position_embeddings', LIMITS.context),
    blocks: whole(config, 'num_hidden_layers', LIMITS.blocks),
    feedForward: whole(config, 'intermediate_size', LIMITS.width),
    rotaryDim,
    tokenTypes: 0,
  };
}

/** Keys of attention with RMS norms. */
export function decoderKeys(
  architecture: ModelDescription['architecture'],
  sizes: ModelSizes,
  epsilon: number,
): GgufMetadataEntry[] {
  return keyList(architecture, [
    ['attention.head_count_kv', 'u32', sizes.kvHeads],
    ['attention.layer_norm_rms_epsilon', 'f32', epsilon],
    ['attention.key_length', 'u32', sizes.headDim],
    ['attention.value_length', 'u32', sizes.headDim],
    ['rope.dimension_count', 'u32', sizes.rotaryDim],
  ]);
}

/** Qwen configurations name a window that `use_sliding_window: false` switches off, or that only upper layers use. */
function usesSlidingWindow(config: Json, blocks: number): boolean {
  if (typeof config.sliding_window !== 'number') return false;
  if (!String(config.model_type).startsWith('qwen')) return true;
  if (config.use_sliding_window !== true) return false;
  const fullLayers = typeof config.max_window_layers === 'number' ? config.max_window_layers : 0;
  if (fullLayers > 0 && fullLayers < blocks) {
    throw unsupported(
      `a sliding window in the layers from ${fullLayers} on only has no GGUF form; set use_sliding_window to false`,
      { max_window_layers: fullLayers, blocks },
    );
  }
  return fullLayers === 0;
}

async function configJson(file: GgufModelFile, architecture: LlamaLike): Promise<Json> {
  const { metadata, tensors } = file;
  const window = slidingWindowAt(metadata, architecture);
  const modelType = architecture === 'llama' && window !== undefined ? 'mistral' : architecture;
  const className = { llama: 'Llama', mistral: 'Mistral', qwen2: 'Qwen2', qwen3: 'Qwen3' }[modelType];
  const qwenWindow = window !== undefined && architecture !== 'llama';
  const hasBias = (name: string) => tensors.has(`blk.0.${name}.bias`);
  return withoutUndefined({
    architectures: [`${className}ForCausalLM`],
    model_type: modelType,
    ...decoderConfig(file),
    rope_theta: positiveNumberAt(metadata, `${architecture}.rope.freq_base`, 10_000),
    rope_scaling: await ropeScalingOf(file),
    hidden_act: 'silu',
    attention_bias: architecture === 'qwen2' ? undefined : hasBias('attn_q') || hasBias('attn_qkv'),
    mlp_bias: architecture === 'llama' ? hasBias('ffn_gate') : undefined,
    sliding_window: window,
    use_sliding_window: qwenWindow ? true : undefined,
    max_window_layers: qwenWindow ? 0 : undefined,
  });
}

/** Sizes and norm as llama's `config.json` names them. */
export function decoderConfig({ metadata, architecture, sizes }: GgufModelFile): Json {
  return {
    hidden_size: sizes.embedding,
    intermediate_size: sizes.feedForward,
    num_hidden_layers: sizes.blocks,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headDim,
    max_position_embeddings: sizes.context,
    rms_norm_eps: positiveNumberAt(metadata, `${architecture}.attention.layer_norm_rms_epsilon`),
  };
}

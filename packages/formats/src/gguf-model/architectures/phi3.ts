import {
  headSizes,
  type Json,
  LIMITS,
  positive,
  requireActivation,
  rotaryDimension,
  unsupported,
  whole,
  withoutUndefined,
} from '../config-fields.js';
import { positiveNumberAt, slidingWindowAt, wholeNumberAt } from '../read-metadata.js';
import { factorList, readRopeFactors } from '../rope-scaling.js';
import {
  type ArchitectureForm,
  type GgufModelFile,
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
import { decoderConfig, decoderKeys, decoderSizes } from './llama.js';
import { requireEqualHeads } from './phi2.js';

const LONG = 'rope_factors_long.weight';
const SHORT = 'rope_factors_short.weight';

/**
 * Phi 3, 3.5 and 4 (`phi3`): llama with query, key and value in one matrix, gate and up in another.
 *
 * llama.cpp chooses between long and short rotary factors by the length of its context, transformers by that of the text,
 * and attends to everything where the model has a sliding window. Source: llama.cpp, conversion/phi.py,
 * src/models/phi3.cpp; transformers, modeling_phi3.py.
 */
export const phi3: ArchitectureForm = {
  roles: roles(),
  prefix: 'model.',
  ropeTensors: [LONG, SHORT],
  ignored: /\.rotary_emb\.inv_freq$/,
  describe,
  configJson,
};

function roles(): TensorRole[] {
  const layer = 'model.layers.{}';
  return [
    weight('token_embd', 'model.embed_tokens', vocabularyRows),
    norm('blk.{}.attn_norm', `${layer}.input_layernorm`),
    weight('blk.{}.attn_qkv', `${layer}.self_attn.qkv_proj`, (s) => [queryRows(s) + 2 * kvRows(s), s.embedding]),
    weight('blk.{}.attn_output', `${layer}.self_attn.o_proj`, (s) => [s.embedding, queryRows(s)]),
    norm('blk.{}.ffn_norm', `${layer}.post_attention_layernorm`),
    weight('blk.{}.ffn_up', `${layer}.mlp.gate_up_proj`, (s) => [2 * s.feedForward, s.embedding]),
    weight('blk.{}.ffn_down', `${layer}.mlp.down_proj`, (s) => [s.embedding, s.feedForward]),
    norm('output_norm', 'model.norm'),
    weight('output', 'lm_head', vocabularyRows, { required: false }),
  ];
}

function describe(config: Json): ModelDescription {
  requireActivation(config.hidden_act ?? 'silu', ['silu', 'swish']);
  const heads = headSizes(config);
  requireEqualHeads(heads);
  const sizes = decoderSizes(config, heads, rotaryDimension(config, heads.headDim, 1));
  const rope = (config.rope_parameters ?? {}) as Json;
  const original = whole(
    {
      original_max_position_embeddings:
        config.original_max_position_embeddings ?? rope.original_max_position_embeddings,
    },
    'original_max_position_embeddings',
    LIMITS.context,
    sizes.context,
  );
  const window = typeof config.sliding_window === 'number' ? whole(config, 'sliding_window', LIMITS.context) : 0;
  const scaling = (config.rope_scaling ?? config.rope_parameters) as Json | null | undefined;
  const factors = longFactors(scaling, sizes, original);
  return {
    architecture: 'phi3',
    sizes,
    tiedHead: config.tie_word_embeddings === true,
    keys: [
      ...decoderKeys('phi3', sizes, positive(config, 'rms_norm_eps', 1e-5)),
      ...keyList('phi3', [
        ['attention.sliding_window', 'u32', window],
        ['rope.freq_base', 'f32', positive({ t: config.rope_theta ?? rope.rope_theta }, 't', 10_000)],
        ['rope.scaling.original_context_length', 'u32', original],
        ['rope.scaling.attn_factor', 'f32', factors?.attention],
      ]),
    ],
    extraTensors: factors
      ? [
          { ggufName: LONG, shape: [sizes.rotaryDim / 2], values: Float32Array.from(factors.long) },
          { ggufName: SHORT, shape: [sizes.rotaryDim / 2], values: Float32Array.from(factors.short) },
        ]
      : [],
  };
}

/** `longrope`, which first was named `su`. Throws `UNSUPPORTED` for other scalings. */
function longFactors(scaling: Json | null | undefined, { rotaryDim, context }: ModelSizes, original: number) {
  const type = scaling?.rope_type ?? scaling?.type ?? 'default';
  if (!scaling || type === 'default') return undefined;
  if ((type !== 'longrope' && type !== 'su') || 'short_mscale' in scaling || 'long_mscale' in scaling) {
    throw unsupported(`rope_scaling of type '${String(type)}' has no GGUF form for phi3`, { type });
  }
  const stated = scaling.attention_factor;
  return {
    long: factorList(scaling.long_factor, rotaryDim / 2, 'rope_scaling.long_factor'),
    short: factorList(scaling.short_factor, rotaryDim / 2, 'rope_scaling.short_factor'),
    attention:
      stated === undefined || stated === null
        ? attentionFactor(context / original, original)
        : positive(scaling, 'attention_factor'),
  };
}

/** What queries and keys are multiplied with. Source: transformers, modeling_rope_utils.py, `_compute_longrope_parameters`. */
function attentionFactor(scale: number, original: number): number {
  return scale <= 1 || original <= 1 ? 1 : Math.sqrt(1 + Math.log(scale) / Math.log(original));
}

async function configJson(file: GgufModelFile): Promise<Json> {
  const { metadata, sizes } = file;
  const original = wholeNumberAt(metadata, 'phi3.rope.scaling.original_context_length', LIMITS.context, sizes.context);
  return withoutUndefined({
    architectures: ['Phi3ForCausalLM'],
    model_type: 'phi3',
    ...decoderConfig(file),
    rope_theta: positiveNumberAt(metadata, 'phi3.rope.freq_base', 10_000),
    partial_rotary_factor: sizes.rotaryDim / sizes.headDim,
    original_max_position_embeddings: original,
    rope_scaling: await longRope(file, original),
    hidden_act: 'silu',
    attention_bias: false,
    sliding_window: slidingWindowAt(metadata, 'phi3') ?? null,
  });
}

async function longRope(file: GgufModelFile, original: number): Promise<Json | undefined> {
  const long = await readRopeFactors(file, LONG);
  const short = await readRopeFactors(file, SHORT);
  if (!long || !short) return undefined;
  const usual = attentionFactor(file.sizes.context / original, original);
  const attention = positiveNumberAt(file.metadata, 'phi3.rope.scaling.attn_factor', 1);
  return withoutUndefined({
    type: 'longrope',
    long_factor: Array.from(long),
    short_factor: Array.from(short),
    attention_factor: Math.fround(usual) === Math.fround(attention) ? undefined : attention,
  });
}

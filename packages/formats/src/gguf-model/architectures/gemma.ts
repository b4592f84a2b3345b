import {
  headSizes,
  type Json,
  LIMITS,
  optionalPositive,
  positive,
  requireActivation,
  unsupported,
  whole,
  withoutUndefined,
} from '../config-fields.js';
import { positiveNumberAt, slidingWindowAt, wholeNumberAt } from '../read-metadata.js';
import { describeRopeScaling, ropeScalingKeys, ropeScalingOf } from '../rope-scaling.js';
import {
  type ArchitectureForm,
  embeddingShape,
  type GgufModelFile,
  keyList,
  type ModelDescription,
  type ModelSizes,
  norm,
  type TensorRole,
} from './form.js';
import { decoderConfig, decoderKeys, decoderRoles, decoderSizes, headNorms } from './llama.js';

type Gemma = 'gemma' | 'gemma2' | 'gemma3';

/** Every n-th layer attends to all positions, the others to a window. */
const FULL_LAYER_PERIODS = { gemma2: 2, gemma3: 6 } as const;
/** llama.cpp knows the 27B models, whose scores are scaled differently, by their number of blocks. */
const BLOCKS_OF_27B = { gemma2: 46, gemma3: 62 } as const;
/** Which transformers has for a key that is absent. */
const DEFAULT_WINDOW = 4096;
const DEFAULT_HEAD_DIM = 256;
const DEFAULT_LOCAL_THETA = 10_000;

/**
 * Gemma 1, 2 and 3 (text). Norm gains are stored plus 1, the output head is the embedding.
 * Source: llama.cpp, conversion/gemma.py and src/models/gemma*.cpp; transformers, modeling_gemma*.py.
 */
export function gemmaLike(architecture: Gemma): ArchitectureForm {
  return {
    roles: roles(architecture),
    prefix: 'model.',
    ropeTensors: [],
    ignored: /\.rotary_emb\.inv_freq$/,
    describe: (config) => describe(config, architecture),
    configJson: (file) => configJson(file, architecture),
  };
}

function roles(architecture: Gemma): TensorRole[] {
  const gain = { gainLessOne: true } as const;
  if (architecture === 'gemma') return decoderRoles({ gain });
  const layer = 'model.layers.{}';
  return [
    ...decoderRoles({ gain, feedForwardNorm: 'pre_feedforward_layernorm' }),
    norm('blk.{}.post_attention_norm', `${layer}.post_attention_layernorm`, embeddingShape, gain),
    norm('blk.{}.post_ffw_norm', `${layer}.post_feedforward_layernorm`, embeddingShape, gain),
    ...(architecture === 'gemma3' ? headNorms(gain) : []),
  ];
}

function describe(config: Json, architecture: Gemma): ModelDescription {
  // Gemma 1's first configurations say `gelu` and mean the tanh form, which they later name in `hidden_activation`.
  const spelled = architecture === 'gemma' && config.hidden_act === 'gelu' ? undefined : config.hidden_act;
  const activation = config.hidden_activation ?? spelled ?? 'gelu_pytorch_tanh';
  requireActivation(activation, ['gelu_pytorch_tanh', 'gelu_new']);
  if (config.tie_word_embeddings === false) throw unsupported('a head of its own has no GGUF form for gemma');
  if (config.use_bidirectional_attention === true) {
    throw unsupported('use_bidirectional_attention has no GGUF form for gemma');
  }
  const sizes = decoderSizes(config, headSizes(config, DEFAULT_HEAD_DIM));
  const own = architecture === 'gemma' ? gemma1Keys(config) : windowedKeys(config, architecture, sizes);
  return {
    architecture,
    sizes,
    tiedHead: true,
    keys: [...decoderKeys(architecture, sizes, positive(config, 'rms_norm_eps', 1e-6)), ...keyList(architecture, own)],
    extraTensors: [],
  };
}

type Keys = Parameters<typeof keyList>[1];

function gemma1Keys(config: Json): Keys {
  const rope = (config.rope_parameters ?? {}) as Json;
  const scaling = config.rope_scaling ?? config.rope_parameters;
  describeRopeScaling(scaling as Json | null | undefined, [], 0);
  return [['rope.freq_base', 'f32', positive({ t: config.rope_theta ?? rope.rope_theta }, 't', 10_000)]];
}

function windowedKeys(config: Json, architecture: 'gemma2' | 'gemma3', sizes: ModelSizes): Keys {
  const scalar = positive(config, 'query_pre_attn_scalar', DEFAULT_HEAD_DIM);
  const expected = queryScalar(architecture, sizes);
  if (scalar !== expected) {
    throw unsupported(
      `query_pre_attn_scalar ${scalar} has no GGUF form; llama.cpp scales scores of this size by ${expected}`,
      {
        scalar,
        expected,
      },
    );
  }
  const period = fullLayerPeriod(config, architecture, sizes.blocks);
  const window = period === 1 ? undefined : whole(config, 'sliding_window', LIMITS.context, DEFAULT_WINDOW);
  const rope = (config.rope_parameters ?? {}) as Json;
  const full = (rope.full_attention ?? rope) as Json;
  const local = (rope.sliding_attention ?? {}) as Json;
  const theta = (value: unknown, fallback: number) => positive({ rope_theta: value }, 'rope_theta', fallback);
  const globalTheta = theta(config.rope_theta ?? full.rope_theta, architecture === 'gemma3' ? 1e6 : 10_000);
  const localTheta =
    architecture === 'gemma3' ? theta(config.rope_local_base_freq ?? local.rope_theta, DEFAULT_LOCAL_THETA) : undefined;
  const scaling = describeRopeScaling(
    (config.rope_scaling ?? full) as Json | null | undefined,
    architecture === 'gemma3' ? ['linear'] : [],
    sizes.headDim,
  );
  return [
    ['attention.sliding_window', 'u32', window],
    ['attention.sliding_window_pattern', 'u32', window === undefined ? undefined : period],
    ...softcappingKeys(config, architecture),
    ['rope.freq_base', 'f32', globalTheta],
    ['rope.freq_base_swa', 'f32', window === undefined ? undefined : localTheta],
    ...ropeScalingKeys(scaling),
  ];
}

/** llama.cpp always caps Gemma 2's scores and logits, of Gemma 3 the logits alone where the key is there. */
function softcappingKeys(config: Json, architecture: 'gemma2' | 'gemma3'): Keys {
  const cap = (name: string, fallback: number) =>
    config[name] === undefined && architecture === 'gemma2' ? fallback : optionalPositive(config, name);
  const attention = cap('attn_logit_softcapping', 50);
  const final = cap('final_logit_softcapping', 30);
  const missing = architecture === 'gemma2' && (attention === undefined || final === undefined);
  if (missing || (architecture === 'gemma3' && attention !== undefined)) {
    throw unsupported(
      `attn_logit_softcapping ${String(attention)} with final_logit_softcapping ${String(final)} has no GGUF form for ${architecture}`,
      { attention, final },
    );
  }
  return [
    ['attn_logit_softcapping', 'f32', attention],
    ['final_logit_softcapping', 'f32', final],
  ];
}

/** Scores are divided by the square root of this. */
function queryScalar(architecture: 'gemma2' | 'gemma3', { blocks, embedding, heads, headDim }: ModelSizes): number {
  return blocks === BLOCKS_OF_27B[architecture] ? Math.floor(embedding / heads) : headDim;
}

/** n where every n-th layer attends to all positions; 1 where all do. Throws `UNSUPPORTED` for another order. */
function fullLayerPeriod(config: Json, architecture: 'gemma2' | 'gemma3', blocks: number): number {
  const fallback = FULL_LAYER_PERIODS[architecture];
  const stated = config.sliding_window_pattern ?? config._sliding_window_pattern;
  const isFull = (layer: number, n: number) => (layer + 1) % n === 0;
  if (config.sliding_window === null) return 1;
  const types = config.layer_types;
  if (!Array.isArray(types))
    return whole({ sliding_window_pattern: stated }, 'sliding_window_pattern', LIMITS.blocks, fallback);
  const first = types.indexOf('full_attention') + 1;
  const period = first > 0 ? first : typeof stated === 'number' && stated > blocks ? stated : blocks + 1;
  const regular = types.every((type, i) => type === (isFull(i, period) ? 'full_attention' : 'sliding_attention'));
  if (types.length === blocks && regular) return period;
  throw unsupported(
    `layer_types has no GGUF form for ${architecture}: not every n-th of ${blocks} layers is full_attention`,
  );
}

async function configJson(file: GgufModelFile, architecture: Gemma): Promise<Json> {
  const { metadata, sizes } = file;
  const number = (key: string, fallback: number) => positiveNumberAt(metadata, `${architecture}.${key}`, fallback);
  const className = { gemma: 'Gemma', gemma2: 'Gemma2', gemma3: 'Gemma3' }[architecture];
  const common = {
    architectures: [`${className}ForCausalLM`],
    model_type: architecture === 'gemma3' ? 'gemma3_text' : architecture,
    ...decoderConfig(file),
    hidden_activation: 'gelu_pytorch_tanh',
    attention_bias: false,
    rope_theta: number('rope.freq_base', 10_000),
    rope_scaling: await ropeScalingOf(file),
  };
  if (architecture === 'gemma') return withoutUndefined({ ...common, hidden_act: 'gelu_pytorch_tanh' });
  const windowKey = `${architecture}.attention.sliding_window`;
  const window =
    metadata.has(windowKey) || architecture === 'gemma3' ? slidingWindowAt(metadata, architecture) : DEFAULT_WINDOW;
  const periodKey = `${architecture}.attention.sliding_window_pattern`;
  const period =
    window === undefined ? 1 : wholeNumberAt(metadata, periodKey, 2 ** 20, FULL_LAYER_PERIODS[architecture]);
  return withoutUndefined({
    ...common,
    query_pre_attn_scalar: queryScalar(architecture, sizes),
    sliding_window: window ?? null,
    layer_types: Array.from({ length: sizes.blocks }, (_, i) =>
      (i + 1) % period === 0 ? 'full_attention' : 'sliding_attention',
    ),
    attn_logit_softcapping: architecture === 'gemma2' ? number('attn_logit_softcapping', 50) : null,
    final_logit_softcapping:
      architecture === 'gemma2' || metadata.has('gemma3.final_logit_softcapping')
        ? number('final_logit_softcapping', 30)
        : null,
    rope_local_base_freq: architecture === 'gemma3' ? number('rope.freq_base_swa', DEFAULT_LOCAL_THETA) : undefined,
    sliding_window_pattern: architecture === 'gemma3' ? period : undefined,
  });
}

import { HalftoneError } from '@halftone/tensor';
import { GGUF_ARCHITECTURE_OF_MODEL_TYPE, type GgufArchitecture, type ModelSizes } from './architectures.js';
import type { Llama3RopeScaling } from './rope-factors.js';

const WHERE = 'gguf-model';

/** Rotary scaling as both naming schemes can say it. */
export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalContext?: number;
      readonly betaFast?: number;
      readonly betaSlow?: number;
    }
  | ({ readonly type: 'llama3' } & Llama3RopeScaling)
  | { readonly type: 'factors'; readonly factors: readonly number[] };

/** What a model's configuration says, in neither Hugging Face's nor GGUF's words. */
export interface ModelDescription {
  readonly architecture: GgufArchitecture;
  readonly sizes: ModelSizes;
  readonly epsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  readonly slidingWindow?: number;
  readonly tiedHead: boolean;
}

type Json = Readonly<Record<string, unknown>>;

/** Largest values that a configuration may claim. They keep shape products below 2^53 and loops short. */
export const LIMITS = { blocks: 10_000, heads: 65_536, width: 2 ** 24, vocabulary: 2 ** 26, context: 2 ** 31 } as const;

/**
 * Reads a Hugging Face `config.json`. Throws `UNSUPPORTED` for a model type, activation or rotary scaling that GGUF's
 * architecture does not compute, and `FORMAT` for keys that are missing or absurd.
 */
export function describeHuggingFaceConfig(config: Json): ModelDescription {
  const modelType = String(config.model_type);
  const architecture = Object.hasOwn(GGUF_ARCHITECTURE_OF_MODEL_TYPE, modelType)
    ? (GGUF_ARCHITECTURE_OF_MODEL_TYPE[modelType] as GgufArchitecture)
    : undefined;
  if (!architecture) {
    const known = Object.keys(GGUF_ARCHITECTURE_OF_MODEL_TYPE).join(', ');
    throw new HalftoneError('UNSUPPORTED', `config.json: model_type '${modelType}' is not one of ${known}`, {
      where: WHERE,
      details: { modelType },
    });
  }
  return architecture === 'gpt2' ? describeGpt2(config) : describeLlamaLike(config, architecture);
}

function describeGpt2(config: Json): ModelDescription {
  requireActivation(config.activation_function ?? 'gelu_new', ['gelu_new', 'gelu_pytorch_tanh']);
  const embedding = whole(config, 'n_embd', LIMITS.width);
  const heads = whole(config, 'n_head', LIMITS.heads);
  const sizes: ModelSizes = {
    vocabulary: whole(config, 'vocab_size', LIMITS.vocabulary),
    context: whole(config, 'n_positions', LIMITS.context, config.n_ctx),
    embedding,
    blocks: whole(config, 'n_layer', LIMITS.blocks),
    feedForward: whole(config, 'n_inner', LIMITS.width, 4 * embedding),
    heads,
    kvHeads: heads,
    headDim: headDimension(embedding, heads),
  };
  return {
    architecture: 'gpt2',
    sizes,
    epsilon: positive(config, 'layer_norm_epsilon', 1e-5),
    ropeTheta: 0,
    tiedHead: config.tie_word_embeddings !== false,
  };
}

function describeLlamaLike(config: Json, architecture: 'llama' | 'qwen2' | 'qwen3'): ModelDescription {
  requireActivation(config.hidden_act ?? 'silu', ['silu', 'swish']);
  const embedding = whole(config, 'hidden_size', LIMITS.width);
  const heads = whole(config, 'num_attention_heads', LIMITS.heads);
  const kvHeads = whole(config, 'num_key_value_heads', LIMITS.heads, heads);
  const fallbackHeadDim = architecture === 'qwen3' ? 128 : undefined;
  const headDim =
    config.head_dim === undefined || config.head_dim === null
      ? (fallbackHeadDim ?? headDimension(embedding, heads))
      : whole(config, 'head_dim', LIMITS.width);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0) {
    throw new HalftoneError(
      'FORMAT',
      `config.json: ${heads} heads of size ${headDim} with ${kvHeads} key/value heads; heads must be a multiple of them and the size even`,
      { where: WHERE, details: { heads, kvHeads, headDim } },
    );
  }
  const rope = (config.rope_parameters ?? {}) as Json;
  const blocks = whole(config, 'num_hidden_layers', LIMITS.blocks);
  const slidingWindow = usesSlidingWindow(config, blocks) ? whole(config, 'sliding_window', LIMITS.context) : undefined;
  const ropeScaling = readRopeScaling(
    (config.rope_scaling ?? config.rope_parameters) as Json | null | undefined,
    architecture,
    headDim,
  );
  return {
    architecture,
    sizes: {
      vocabulary: whole(config, 'vocab_size', LIMITS.vocabulary),
      context: whole(config, 'max_position_embeddings', LIMITS.context),
      embedding,
      blocks,
      feedForward: whole(config, 'intermediate_size', LIMITS.width),
      heads,
      kvHeads,
      headDim,
    },
    epsilon: positive(config, 'rms_norm_eps', 1e-6),
    ropeTheta: positive({ rope_theta: config.rope_theta ?? rope.rope_theta }, 'rope_theta', 10_000),
    ...(ropeScaling && { ropeScaling }),
    ...(slidingWindow !== undefined && { slidingWindow }),
    tiedHead: config.tie_word_embeddings === true,
  };
}

/** Qwen configurations name a window that `use_sliding_window: false` switches off, or that only upper layers use. */
function usesSlidingWindow(config: Json, blocks: number): boolean {
  if (typeof config.sliding_window !== 'number') return false;
  if (!String(config.model_type).startsWith('qwen')) return true;
  if (config.use_sliding_window !== true) return false;
  const fullLayers = typeof config.max_window_layers === 'number' ? config.max_window_layers : 0;
  if (fullLayers > 0 && fullLayers < blocks) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `config.json: a sliding window in the layers from ${fullLayers} on only has no GGUF form; set use_sliding_window to false`,
      { where: WHERE, details: { max_window_layers: fullLayers, blocks } },
    );
  }
  return fullLayers === 0;
}

function readRopeScaling(
  scaling: Json | null | undefined,
  architecture: string,
  headDim: number,
): RopeScaling | undefined {
  const type = scaling?.rope_type ?? scaling?.type ?? 'default';
  if (!scaling || type === 'default') return undefined;
  const optional = (key: string) => (typeof scaling[key] === 'number' ? positive(scaling, key) : undefined);
  const required = (key: string) => positive(scaling, key);
  if (type === 'linear') return { type: 'linear', factor: required('factor') };
  if (type === 'yarn' && typeof scaling.attention_factor !== 'number') {
    return {
      type: 'yarn',
      factor: required('factor'),
      originalContext: optional('original_max_position_embeddings'),
      betaFast: optional('beta_fast'),
      betaSlow: optional('beta_slow'),
    };
  }
  if (type === 'llama3' && architecture === 'llama') {
    return {
      type: 'llama3',
      factor: required('factor'),
      low_freq_factor: required('low_freq_factor'),
      high_freq_factor: required('high_freq_factor'),
      original_max_position_embeddings: required('original_max_position_embeddings'),
    };
  }
  if (type === 'factors' && architecture === 'llama') {
    return { type: 'factors', factors: ropeFactors(scaling.factors, headDim) };
  }
  throw new HalftoneError(
    'UNSUPPORTED',
    `config.json: rope_scaling ${JSON.stringify(scaling)} has no GGUF form for ${architecture}`,
    {
      where: WHERE,
      details: { type, architecture },
    },
  );
}

function ropeFactors(factors: unknown, headDim: number): number[] {
  const valid =
    Array.isArray(factors) && factors.every((factor) => typeof factor === 'number' && factor > 0 && factor < 1e9);
  if (valid && factors.length === headDim / 2) return factors;
  throw new HalftoneError('FORMAT', `config.json: rope_scaling.factors must be ${headDim / 2} positive numbers`, {
    where: WHERE,
    details: { headDim },
  });
}

function requireActivation(activation: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(String(activation))) {
    throw new HalftoneError('UNSUPPORTED', `config.json: activation '${activation}' is not ${allowed.join(' or ')}`, {
      where: WHERE,
      details: { activation },
    });
  }
}

export function headDimension(embedding: number, heads: number): number {
  if (embedding % heads !== 0) {
    throw new HalftoneError('FORMAT', `an embedding of ${embedding} does not divide into ${heads} heads`, {
      where: WHERE,
      details: { embedding, heads },
    });
  }
  return embedding / heads;
}

function whole(config: Json, key: string, most: number, fallback?: unknown): number {
  const value = config[key] ?? fallback;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value <= most) return value;
  const problem = value === undefined ? 'is missing' : `is ${String(value)}`;
  throw new HalftoneError('FORMAT', `config.json: ${key} ${problem}; it must be a whole number from 1 to ${most}`, {
    where: WHERE,
    details: { key, value },
  });
}

function positive(config: Json, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  const problem = value === undefined ? 'is missing' : `is ${String(value)}`;
  throw new HalftoneError('FORMAT', `config.json: ${key} ${problem}; it must be a positive number`, {
    where: WHERE,
    details: { key, value },
  });
}

import {
  type Checkpoint,
  type DType,
  decode,
  HalftoneError,
  type LazyTensor,
  type PackedTensor,
  sameShape,
} from '@halftone/tensor';
import { type TokenizerFiles, tokenizerFromGguf } from '../tokenizer/tokenizer-from-gguf.js';
import { type GgufArchitecture, isGgufArchitecture, type ModelSizes } from './architectures.js';
import { headDimension, LIMITS } from './model-description.js';
import { permuteRowsLazy } from './permute-rows.js';
import { positiveNumberAt, stringAt, wholeNumberAt } from './read-metadata.js';
import { recogniseLlama3 } from './rope-factors.js';
import { expandRoles, fillBlock } from './tensor-names.js';

const WHERE = 'gguf-model';

type Metadata = Checkpoint['metadata'];

/**
 * `config.rope_scaling` for a file whose `rope_freqs.weight` is not one of llama 3's published settings. Rotary
 * frequency `i` is divided by `factors[i]`, `[headDim / 2]`. This `rope_type` exists only here: transformers has none
 * that takes factors alone.
 */
export interface FactorsRopeScaling {
  readonly rope_type: 'factors';
  readonly factors: readonly number[];
}

export interface HuggingFaceView {
  /** `config.json` as transformers would write it. `rope_scaling` may be a {@link FactorsRopeScaling}. */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** The same tensors under Hugging Face names, query and key rows in Hugging Face's rotary order. */
  readonly checkpoint: Checkpoint;
  /** Absent when the file holds no tokenizer. */
  readonly tokenizerJson?: TokenizerFiles['tokenizerJson'];
  readonly tokenizerConfig?: TokenizerFiles['tokenizerConfig'];
  readonly chatTemplate?: string;
  /** GGUF stores every linear weight `[out, in]`, GPT-2's too, where Hugging Face files hold `[in, out]`. */
  readonly conv1dTransposed: false;
}

/**
 * Shows an opened GGUF file as a Hugging Face checkpoint. Reads no weights but `rope_freqs.weight`.
 * Throws `UNSUPPORTED` for an unknown architecture, tokenizer or tensor, `FORMAT` for missing tensors and for missing or
 * absurd keys, `SHAPE` for tensors that do not fit the keys.
 */
export async function ggufAsHuggingFace(checkpoint: Checkpoint): Promise<HuggingFaceView> {
  const { metadata } = checkpoint;
  const architecture = readArchitecture(metadata);
  const sizes = readSizes(metadata, architecture, checkpoint.tensors);
  const tensors = renameTensors(checkpoint.tensors, architecture, sizes);
  const tied = !tensors.has('lm_head.weight');
  const ropeScaling = await readRopeScaling(checkpoint, architecture, sizes);
  const tokenizer = metadata.has('tokenizer.ggml.model') ? tokenizerFromGguf(metadata) : undefined;
  const chatTemplate = stringAt(metadata, 'tokenizer.chat_template');
  const base =
    architecture === 'gpt2'
      ? gpt2Config(metadata, sizes)
      : llamaLikeConfig(metadata, architecture, sizes, (name) => tensors.has(`model.layers.0.${name}`));
  return {
    configJson: {
      ...base,
      vocab_size: sizes.vocabulary,
      tie_word_embeddings: tied,
      ...(ropeScaling && { rope_scaling: ropeScaling }),
      ...tokenIds(metadata),
    },
    checkpoint: {
      format: checkpoint.format,
      metadata,
      tensors,
      byteLength: checkpoint.byteLength,
      close: () => checkpoint.close(),
    },
    ...tokenizer,
    ...(chatTemplate !== undefined && { chatTemplate }),
    conv1dTransposed: false,
  };
}

function readArchitecture(metadata: Metadata): GgufArchitecture {
  const name = stringAt(metadata, 'general.architecture');
  if (name === undefined || !isGgufArchitecture(name)) {
    throw new HalftoneError(
      name === undefined ? 'FORMAT' : 'UNSUPPORTED',
      name === undefined
        ? 'general.architecture is missing; the file is not a model'
        : `general.architecture '${name}' is not one of llama, qwen2, qwen3, gpt2`,
      { where: WHERE, details: { architecture: name } },
    );
  }
  return name;
}

function readSizes(metadata: Metadata, architecture: GgufArchitecture, tensors: Checkpoint['tensors']): ModelSizes {
  const key = (name: string) => `${architecture}.${name}`;
  const whole = (name: string, most: number, fallback?: number) => wholeNumberAt(metadata, key(name), most, fallback);
  if (metadata.has(key('expert_count')) && Number(metadata.get(key('expert_count'))) !== 0) {
    throw new HalftoneError('UNSUPPORTED', `${key('expert_count')}: mixture-of-experts models are not supported`, {
      where: WHERE,
    });
  }
  const embedding = whole('embedding_length', LIMITS.width);
  const heads = whole('attention.head_count', LIMITS.heads);
  const kvHeads = whole('attention.head_count_kv', LIMITS.heads, heads);
  const headDim = metadata.has(key('attention.key_length'))
    ? whole('attention.key_length', LIMITS.width)
    : headDimension(embedding, heads);
  const valueDim = whole('attention.value_length', LIMITS.width, headDim);
  const rotaryDim = whole('rope.dimension_count', LIMITS.width, headDim);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0 || valueDim !== headDim || rotaryDim !== headDim) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${heads} heads with ${kvHeads} key/value heads, key size ${headDim}, value size ${valueDim}, ${rotaryDim} rotated: the sizes must be even and equal, the heads a multiple`,
      { where: WHERE, details: { heads, kvHeads, headDim, valueDim, rotaryDim } },
    );
  }
  const tokenTable = tensors.get('token_embd.weight');
  return {
    vocabulary: tokenTable?.shape[0] ?? whole('vocab_size', LIMITS.vocabulary),
    context: whole('context_length', LIMITS.context),
    embedding,
    blocks: whole('block_count', LIMITS.blocks),
    feedForward: whole('feed_forward_length', LIMITS.width),
    heads,
    kvHeads,
    headDim,
  };
}

function renameTensors(
  source: Checkpoint['tensors'],
  architecture: GgufArchitecture,
  sizes: ModelSizes,
): Map<string, LazyTensor> {
  const renamed = new Map<string, LazyTensor>();
  const used = new Set<string>(architecture === 'llama' ? ['rope_freqs.weight'] : []);
  for (const { role, block } of expandRoles(architecture, sizes.blocks)) {
    const ggufName = fillBlock(role.gguf, block);
    const lazy = source.get(ggufName);
    if (!lazy) {
      if (!role.required) continue;
      throw new HalftoneError('FORMAT', `${ggufName}: the file has no such tensor, which ${architecture} needs`, {
        where: WHERE,
        details: { tensor: ggufName, architecture },
      });
    }
    const expected = role.shape(sizes);
    if (!sameShape(lazy.shape, expected)) {
      throw new HalftoneError('SHAPE', `${ggufName}: shape [${lazy.shape}] does not fit the header's [${expected}]`, {
        where: WHERE,
        details: { tensor: ggufName, shape: lazy.shape, expected },
      });
    }
    used.add(ggufName);
    const name = fillBlock(role.hf, block);
    const named = { ...lazy, name };
    renamed.set(name, role.rotaryHeads ? permuteRowsLazy(named, sizes[role.rotaryHeads], true) : named);
  }
  for (const name of source.keys()) {
    if (!used.has(name)) {
      throw new HalftoneError('UNSUPPORTED', `${name}: tensor of no known part of a ${architecture} model`, {
        where: WHERE,
        details: { tensor: name, architecture },
      });
    }
  }
  return renamed;
}

async function readRopeScaling(checkpoint: Checkpoint, architecture: GgufArchitecture, sizes: ModelSizes) {
  const { metadata, tensors } = checkpoint;
  const key = (name: string) => `${architecture}.rope.${name}`;
  const frequencies = architecture === 'llama' ? tensors.get('rope_freqs.weight') : undefined;
  if (frequencies) {
    if (!sameShape(frequencies.shape, [sizes.headDim / 2]) || frequencies.dtype !== 'f32') {
      throw new HalftoneError(
        'SHAPE',
        `rope_freqs.weight: ${frequencies.dtype} [${frequencies.shape}] must be f32 [${sizes.headDim / 2}]`,
        { where: WHERE, details: { tensor: 'rope_freqs.weight', shape: frequencies.shape } },
      );
    }
    const factors = decode((await frequencies.read()) as PackedTensor<DType>);
    const theta = positiveNumberAt(metadata, key('freq_base'), 10_000);
    const llama3 = recogniseLlama3(factors, theta);
    if (llama3) return { rope_type: 'llama3', ...llama3 };
    return { rope_type: 'factors', factors: Array.from(factors) } satisfies FactorsRopeScaling;
  }
  const type = stringAt(metadata, key('scaling.type')) ?? (metadata.has(key('scale_linear')) ? 'linear' : 'none');
  if (type === 'none') return undefined;
  if (type === 'linear') {
    const factor = positiveNumberAt(
      metadata,
      key('scaling.factor'),
      metadata.get(key('scale_linear')) as number | undefined,
    );
    return factor === 1 ? undefined : { rope_type: 'linear', factor };
  }
  if (type === 'yarn' && !metadata.has(key('scaling.attn_factor'))) {
    const optional = (name: string) => (metadata.has(key(name)) ? positiveNumberAt(metadata, key(name)) : undefined);
    const original = metadata.has(key('scaling.original_context_length'))
      ? wholeNumberAt(metadata, key('scaling.original_context_length'), LIMITS.context)
      : undefined;
    return withoutUndefined({
      rope_type: 'yarn',
      factor: positiveNumberAt(metadata, key('scaling.factor')),
      original_max_position_embeddings: original,
      beta_fast: optional('scaling.yarn_beta_fast'),
      beta_slow: optional('scaling.yarn_beta_slow'),
    });
  }
  throw new HalftoneError('UNSUPPORTED', `${key('scaling.type')}: rotary scaling '${type}' is not supported`, {
    where: WHERE,
    details: { type },
  });
}

function gpt2Config(metadata: Metadata, sizes: ModelSizes) {
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

function llamaLikeConfig(
  metadata: Metadata,
  architecture: 'llama' | 'qwen2' | 'qwen3',
  sizes: ModelSizes,
  hasTensor: (nameInLayer: string) => boolean,
) {
  const windowKey = `${architecture}.attention.sliding_window`;
  const window =
    metadata.has(windowKey) && Number(metadata.get(windowKey)) !== 0
      ? wholeNumberAt(metadata, windowKey, LIMITS.context)
      : undefined;
  const modelType = architecture === 'llama' && window !== undefined ? 'mistral' : architecture;
  const className = { llama: 'Llama', mistral: 'Mistral', qwen2: 'Qwen2', qwen3: 'Qwen3' }[modelType];
  const qwenWindow = window !== undefined && architecture !== 'llama';
  return withoutUndefined({
    architectures: [`${className}ForCausalLM`],
    model_type: modelType,
    hidden_size: sizes.embedding,
    intermediate_size: sizes.feedForward,
    num_hidden_layers: sizes.blocks,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headDim,
    max_position_embeddings: sizes.context,
    rms_norm_eps: positiveNumberAt(metadata, `${architecture}.attention.layer_norm_rms_epsilon`),
    rope_theta: positiveNumberAt(metadata, `${architecture}.rope.freq_base`, 10_000),
    hidden_act: 'silu',
    attention_bias: architecture === 'qwen2' ? undefined : hasTensor('self_attn.q_proj.bias'),
    mlp_bias: architecture === 'llama' ? hasTensor('mlp.gate_proj.bias') : undefined,
    sliding_window: window,
    use_sliding_window: qwenWindow ? true : undefined,
    max_window_layers: qwenWindow ? 0 : undefined,
  });
}

function tokenIds(metadata: Metadata): Record<string, number> {
  const ids: Record<string, number> = {};
  for (const [key, field] of [
    ['bos', 'bos_token_id'],
    ['eos', 'eos_token_id'],
    ['padding', 'pad_token_id'],
  ] as const) {
    const value = metadata.get(`tokenizer.ggml.${key}_token_id`);
    if (typeof value === 'number') ids[field] = value;
  }
  return ids;
}

function withoutUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

import { HalftoneError, type LazyTensor, type Shape, sameShape } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { refuseMalformedJson } from '../internal/malformed-json.js';
import { tokenizerToGguf } from '../tokenizer/tokenizer-to-gguf.js';
import { describeHuggingFaceConfig, type ModelDescription } from './model-description.js';
import { permuteRowsLazy } from './permute-rows.js';
import { llama3RopeFactors } from './rope-factors.js';
import { expandRoles, fillBlock, type NamedRole } from './tensor-names.js';
import { transposeLazy } from './transpose-lazy.js';
import type { GgufExtraTensor, GgufTensorPlan, GgufTransform } from './types.js';

const WHERE = 'gguf-model';

type Json = Readonly<Record<string, unknown>>;

export interface HuggingFaceModel {
  /** `config.json`. */
  readonly configJson: Json;
  /** Names and shapes as in the checkpoint. */
  readonly tensors: ReadonlyMap<string, { readonly shape: Shape }>;
  /** False when GPT-2's linear weights are `[out, in]` already, as `ggufAsHuggingFace` shows them. Default true. */
  readonly conv1dTransposed?: boolean;
  /** `tokenizer.json`. Without it llama.cpp does not load the file. */
  readonly tokenizerJson?: Json;
  /** `tokenizer_config.json`. */
  readonly tokenizerConfig?: Json;
  /** `generation_config.json`; only its token ids are read. */
  readonly generationConfig?: Json;
  /** Contents of `chat_template.jinja`; stands before the template in `tokenizerConfig`. */
  readonly chatTemplate?: string;
  /** `general.name`. */
  readonly name?: string;
  /** `tokenizer.ggml.pre`, for a tokenizer whose split pattern is not known here. */
  readonly pre?: string;
}

export interface GgufModelPlan {
  /** All keys but `general.file_type` and `general.alignment`, which the writer of the weights knows. */
  readonly metadata: readonly GgufMetadataEntry[];
  /** In the order to write them. */
  readonly tensors: readonly GgufTensorPlan[];
  readonly extraTensors: readonly GgufExtraTensor[];
}

/**
 * Plans the GGUF form of a Hugging Face llama, mistral, qwen2, qwen3 or gpt2 model. Reads no weights.
 *
 * `attention.sliding_window` is written where the model has one; llama.cpp ignores it for these architectures and
 * attends to everything, so results agree up to the window's length.
 * Throws `UNSUPPORTED` for what the GGUF architecture cannot express and `FORMAT` or `SHAPE` for tensors that are
 * missing, unknown or do not fit the configuration.
 */
export function huggingFaceToGguf(model: HuggingFaceModel): GgufModelPlan {
  return refuseMalformedJson('config.json is not built as a configuration', WHERE, () => planModel(model));
}

function planModel(model: HuggingFaceModel): GgufModelPlan {
  const description = describeHuggingFaceConfig(model.configJson);
  // First of all: what the checkpoint's shapes confirm may be as large as it is.
  const tensors = planTensors(description, model.tensors, model.conv1dTransposed ?? true);
  return {
    metadata: [
      ...modelMetadata(description, model.name),
      ...(model.tokenizerJson ? tokenizerMetadata(model, model.tokenizerJson, description) : []),
    ],
    tensors,
    extraTensors: extraTensors(description),
  };
}

/** Applies a plan's transform to a tensor of the checkpoint, lazily. */
export function applyGgufTransform(lazy: LazyTensor, transform: GgufTransform): LazyTensor {
  const transposed = transform.transpose ? transposeLazy(lazy) : lazy;
  return transform.permuteHeads ? permuteRowsLazy(transposed, transform.permuteHeads.heads) : transposed;
}

function modelMetadata(description: ModelDescription, name: string | undefined): GgufMetadataEntry[] {
  const { architecture, sizes, ropeScaling } = description;
  const entries: GgufMetadataEntry[] = [];
  const add = (key: string, type: 'u32' | 'f32' | 'string', value: number | string | undefined) => {
    if (value !== undefined) entries.push({ key, type, value });
  };
  const own = (key: string) => `${architecture}.${key}`;
  add('general.architecture', 'string', architecture);
  add('general.type', 'string', 'model');
  add('general.name', 'string', name);
  add('general.quantization_version', 'u32', 2);
  add(own('vocab_size'), 'u32', sizes.vocabulary);
  add(own('context_length'), 'u32', sizes.context);
  add(own('embedding_length'), 'u32', sizes.embedding);
  add(own('block_count'), 'u32', sizes.blocks);
  add(own('feed_forward_length'), 'u32', sizes.feedForward);
  add(own('attention.head_count'), 'u32', sizes.heads);
  if (architecture === 'gpt2') {
    add(own('attention.layer_norm_epsilon'), 'f32', description.epsilon);
    return entries;
  }
  add(own('attention.head_count_kv'), 'u32', sizes.kvHeads);
  add(own('attention.layer_norm_rms_epsilon'), 'f32', description.epsilon);
  add(own('attention.key_length'), 'u32', sizes.headDim);
  add(own('attention.value_length'), 'u32', sizes.headDim);
  add(own('attention.sliding_window'), 'u32', description.slidingWindow);
  add(own('rope.dimension_count'), 'u32', sizes.headDim);
  add(own('rope.freq_base'), 'f32', description.ropeTheta);
  if (ropeScaling?.type === 'linear' || ropeScaling?.type === 'yarn') {
    add(own('rope.scaling.type'), 'string', ropeScaling.type);
    add(own('rope.scaling.factor'), 'f32', ropeScaling.factor);
  }
  if (ropeScaling?.type === 'yarn') {
    add(own('rope.scaling.original_context_length'), 'u32', ropeScaling.originalContext);
    add(own('rope.scaling.yarn_beta_fast'), 'f32', ropeScaling.betaFast);
    add(own('rope.scaling.yarn_beta_slow'), 'f32', ropeScaling.betaSlow);
  }
  return entries;
}

function tokenizerMetadata(model: HuggingFaceModel, tokenizerJson: Json, description: ModelDescription) {
  const { configJson, generationConfig, tokenizerConfig = {}, chatTemplate, pre } = model;
  const specialId = (key: string) => {
    const value = generationConfig?.[key] ?? configJson[key];
    const first = Array.isArray(value) ? value[0] : value;
    return typeof first === 'number' ? first : undefined;
  };
  return tokenizerToGguf(tokenizerJson, {
    tokenizerConfig: chatTemplate === undefined ? tokenizerConfig : { ...tokenizerConfig, chat_template: chatTemplate },
    vocabularySize: description.sizes.vocabulary,
    bos: specialId('bos_token_id'),
    eos: specialId('eos_token_id'),
    pad: specialId('pad_token_id'),
    ...(pre !== undefined && { pre }),
  });
}

/** Buffers that checkpoints sometimes hold and that no model reads: rotary tables and GPT-2's causal masks. */
const IGNORED = /(\.rotary_emb\.inv_freq|\.attn\.bias|\.attn\.masked_bias)$/;

function planTensors(
  description: ModelDescription,
  tensors: HuggingFaceModel['tensors'],
  conv1dTransposed: boolean,
): GgufTensorPlan[] {
  const { architecture, sizes, tiedHead } = description;
  const planned: GgufTensorPlan[] = [];
  const used = new Set<string>();
  for (const named of expandRoles(architecture, sizes.blocks)) {
    const hfName = findTensor(named, tensors);
    const isHead = named.role.gguf === 'output.weight';
    if (hfName === undefined) {
      if (named.role.required || (isHead && !tiedHead)) throw missingTensor(fillBlock(named.role.hf, named.block));
      continue;
    }
    used.add(hfName);
    if (isHead && tiedHead) continue;
    planned.push(planTensor(named, hfName, tensors.get(hfName)?.shape ?? [], description, conv1dTransposed));
  }
  for (const name of tensors.keys()) {
    if (!used.has(name) && !IGNORED.test(name)) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `${name}: a ${architecture} model of ${sizes.blocks} blocks has no such tensor in GGUF; remove it or check config.json`,
        { where: WHERE, details: { tensor: name, architecture } },
      );
    }
  }
  return planned;
}

/** The name in the checkpoint, which may lack the whole model's prefix. */
function findTensor({ role, block }: NamedRole, tensors: HuggingFaceModel['tensors']): string | undefined {
  const name = fillBlock(role.hf, block);
  const bare = name.replace(/^(transformer|model)\./, '');
  return [name, bare].find((candidate) => tensors.has(candidate));
}

function planTensor(
  { role, block }: NamedRole,
  hfName: string,
  shape: Shape,
  { sizes }: ModelDescription,
  conv1dTransposed: boolean,
): GgufTensorPlan {
  const logical = role.shape(sizes);
  const transpose = role.conv1d === true && conv1dTransposed;
  const stored = transpose ? [...logical].reverse() : logical;
  if (!sameShape(shape, stored)) {
    throw new HalftoneError(
      'SHAPE',
      `${hfName}: shape [${shape}] does not fit config.json, which asks for [${stored}]`,
      {
        where: WHERE,
        details: { tensor: hfName, shape, expected: stored },
      },
    );
  }
  return {
    ggufName: fillBlock(role.gguf, block),
    hfName,
    shape: logical,
    transform: {
      ...(transpose && { transpose: true as const }),
      ...(role.rotaryHeads && { permuteHeads: { heads: sizes[role.rotaryHeads] } }),
    },
    keepFloat: role.float,
  };
}

function extraTensors({ ropeScaling, ropeTheta, sizes }: ModelDescription): GgufExtraTensor[] {
  const tensor = (values: Float32Array) => [{ ggufName: 'rope_freqs.weight', shape: [values.length], values }];
  if (ropeScaling?.type === 'llama3') return tensor(llama3RopeFactors(ropeScaling, ropeTheta, sizes.headDim));
  if (ropeScaling?.type === 'factors') return tensor(Float32Array.from(ropeScaling.factors));
  return [];
}

function missingTensor(name: string): HalftoneError {
  return new HalftoneError('FORMAT', `${name}: the checkpoint has no such tensor; check that all shards are there`, {
    where: WHERE,
    details: { tensor: name },
  });
}

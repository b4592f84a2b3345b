import { HalftoneError, type LazyTensor, type Shape, sameShape } from '@halftone/tensor';
import type { GgufMetadataEntry } from '../gguf-types.js';
import { refuseMalformedJson } from '../internal/malformed-json.js';
import { tokenizerToGguf } from '../tokenizer/tokenizer-to-gguf.js';
import { keyList, type ModelDescription } from './architectures/form.js';
import { architectureForm } from './architectures.js';
import type { Json } from './config-fields.js';
import { describeConfig } from './describe-config.js';
import { addOneLazy } from './gain-less-one.js';
import { permuteRowsLazy } from './permute-rows.js';
import { checkpointNames, expandRoles, fillBlock, type NamedRole } from './tensor-names.js';
import { transposeLazy } from './transpose-lazy.js';
import type { GgufExtraTensor, GgufTensorPlan, GgufTransform } from './types.js';

const WHERE = 'gguf-model';

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
  /** How an embedding of a whole text is made of its tokens' (`pooling_type`); no Hugging Face configuration says. */
  readonly pooling?: 'none' | 'mean' | 'cls' | 'last';
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
 * Plans the GGUF form of a Hugging Face model: llama, mistral, qwen2, qwen3, gpt2, gemma, gemma2, gemma3_text, phi, phi3
 * or bert. Reads no weights.
 *
 * `attention.sliding_window` is written where the model has one; of these architectures llama.cpp heeds it for gemma2 and
 * gemma3 and attends to everything for the others, so their results agree up to the window's length.
 * Throws `UNSUPPORTED` for what the GGUF architecture cannot express and `FORMAT` or `SHAPE` for tensors that are
 * missing, unknown or do not fit the configuration.
 */
export function huggingFaceToGguf(model: HuggingFaceModel): GgufModelPlan {
  return refuseMalformedJson('config.json is not built as a configuration', WHERE, () => planModel(model));
}

function planModel(model: HuggingFaceModel): GgufModelPlan {
  const description = describeConfig(model.configJson);
  // First, so that no list longer than the embedding is made for a vocabulary that only the configuration claims.
  const tensors = planTensors(description, model.tensors, model.conv1dTransposed ?? true);
  return {
    metadata: [
      ...modelMetadata(description, model),
      ...(model.tokenizerJson ? tokenizerMetadata(model, model.tokenizerJson, description) : []),
    ],
    tensors,
    extraTensors: description.extraTensors,
  };
}

/** Applies a plan's transform to a tensor of the checkpoint, lazily. */
export function applyGgufTransform(lazy: LazyTensor, transform: GgufTransform): LazyTensor {
  const transposed = transform.transpose ? transposeLazy(lazy) : lazy;
  const permuted = transform.permuteHeads ? permuteRowsLazy(transposed, transform.permuteHeads.heads) : transposed;
  return transform.addOne ? addOneLazy(permuted) : permuted;
}

/** `enum llama_pooling_type`. Source: llama.h. */
const POOLING_TYPES = { none: 0, mean: 1, cls: 2, last: 3 } as const;

function modelMetadata(description: ModelDescription, { name, pooling }: HuggingFaceModel): GgufMetadataEntry[] {
  const { architecture, sizes, keys } = description;
  const entries: GgufMetadataEntry[] = [
    { key: 'general.architecture', type: 'string', value: architecture },
    { key: 'general.type', type: 'string', value: 'model' },
  ];
  if (name !== undefined) entries.push({ key: 'general.name', type: 'string', value: name });
  entries.push({ key: 'general.quantization_version', type: 'u32', value: 2 });
  const own = keyList(architecture, [
    ['vocab_size', 'u32', sizes.vocabulary],
    ['context_length', 'u32', sizes.context],
    ['embedding_length', 'u32', sizes.embedding],
    ['block_count', 'u32', sizes.blocks],
    ['feed_forward_length', 'u32', sizes.feedForward],
    ['attention.head_count', 'u32', sizes.heads],
    ['pooling_type', 'u32', pooling && POOLING_TYPES[pooling]],
  ]);
  return [...entries, ...own, ...keys];
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

function planTensors(
  description: ModelDescription,
  tensors: HuggingFaceModel['tensors'],
  conv1dTransposed: boolean,
): GgufTensorPlan[] {
  const { architecture, sizes, tiedHead } = description;
  const { ignored } = architectureForm(architecture);
  const planned: GgufTensorPlan[] = [];
  const used = new Set<string>();
  for (const named of expandRoles(architecture, sizes.blocks)) {
    const hfName = findTensor(named, description, tensors);
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
    if (!used.has(name) && !ignored.test(name) && !(tiedHead && name === 'lm_head.weight')) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `${name}: a ${architecture} model of ${sizes.blocks} blocks has no such tensor in GGUF; remove it or check config.json`,
        { where: WHERE, details: { tensor: name, architecture } },
      );
    }
  }
  return planned;
}

/** The name in the checkpoint. */
function findTensor(
  { role, block }: NamedRole,
  { architecture }: ModelDescription,
  tensors: HuggingFaceModel['tensors'],
) {
  return checkpointNames(architecture, fillBlock(role.hf, block)).find((candidate) => tensors.has(candidate));
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
      ...(role.gainLessOne && { addOne: true as const }),
    },
    keepFloat: role.float,
  };
}

function missingTensor(name: string): HalftoneError {
  return new HalftoneError('FORMAT', `${name}: the checkpoint has no such tensor; check that all shards are there`, {
    where: WHERE,
    details: { tensor: name },
  });
}

import { type Checkpoint, HalftoneError, type LazyTensor, sameShape } from '@halftone/tensor';
import { type TokenizerFiles, tokenizerFromGguf } from '../tokenizer/tokenizer-from-gguf.js';
import type { GgufArchitecture, ModelSizes } from './architectures/form.js';
import { architectureForm, GGUF_ARCHITECTURES, isGgufArchitecture } from './architectures.js';
import { headDimension, LIMITS } from './config-fields.js';
import { subtractOneLazy } from './gain-less-one.js';
import { permuteRowsLazy } from './permute-rows.js';
import { stringAt, wholeNumberAt } from './read-metadata.js';
import { sliceRowsLazy } from './slice-rows.js';
import { expandRoles, fillBlock, type NamedRole } from './tensor-names.js';

const WHERE = 'gguf-model';

type Metadata = Checkpoint['metadata'];

export interface HuggingFaceView {
  /** `config.json` as transformers would write it. `rope_scaling` may be a `FactorsRopeScaling`. */
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
 * Shows an opened GGUF file as a Hugging Face checkpoint. Reads no weights but rotary factors.
 * Throws `UNSUPPORTED` for an unknown architecture, tokenizer or tensor, `FORMAT` for missing tensors and for missing or
 * absurd keys, `SHAPE` for tensors that do not fit the keys.
 */
export async function ggufAsHuggingFace(checkpoint: Checkpoint): Promise<HuggingFaceView> {
  const { metadata } = checkpoint;
  const architecture = readArchitecture(metadata);
  const sizes = readSizes(metadata, architecture, checkpoint.tensors);
  const tensors = renameTensors(checkpoint.tensors, architecture, sizes);
  const file = { metadata, architecture, sizes, tensors: checkpoint.tensors };
  const tokenizer = metadata.has('tokenizer.ggml.model') ? tokenizerFromGguf(metadata) : undefined;
  const chatTemplate = stringAt(metadata, 'tokenizer.chat_template');
  return {
    configJson: {
      ...(await architectureForm(architecture).configJson(file)),
      vocab_size: sizes.vocabulary,
      tie_word_embeddings: !tensors.has('lm_head.weight'),
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
        : `general.architecture '${name}' is not one of ${GGUF_ARCHITECTURES.join(', ')}`,
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
  const partial = architecture === 'phi2' || architecture === 'phi3';
  const rotates = rotaryDim === headDim || (partial && rotaryDim < headDim && rotaryDim % 2 === 0);
  if (heads % kvHeads !== 0 || headDim % 2 !== 0 || valueDim !== headDim || !rotates) {
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
    rotaryDim,
    tokenTypes: tensors.get('token_types.weight')?.shape[0] ?? 0,
  };
}

function renameTensors(
  source: Checkpoint['tensors'],
  architecture: GgufArchitecture,
  sizes: ModelSizes,
): Map<string, LazyTensor> {
  const renamed = new Map<string, LazyTensor>();
  const used = new Set<string>(architectureForm(architecture).ropeTensors);
  for (const named of expandRoles(architecture, sizes.blocks)) {
    const { role, block } = named;
    const ggufName = fillBlock(role.gguf, block);
    const found = source.has(ggufName) ? ggufName : fusedName(ggufName);
    const stored = source.get(found);
    if (!stored) {
      if (!role.required) continue;
      throw new HalftoneError('FORMAT', `${ggufName}: the file has no such tensor, which ${architecture} needs`, {
        where: WHERE,
        details: { tensor: ggufName, architecture },
      });
    }
    const lazy = found === ggufName ? stored : partOfFused(stored, named, sizes);
    const expected = role.shape(sizes);
    if (!sameShape(lazy.shape, expected)) {
      throw new HalftoneError('SHAPE', `${ggufName}: shape [${lazy.shape}] does not fit the header's [${expected}]`, {
        where: WHERE,
        details: { tensor: ggufName, shape: lazy.shape, expected },
      });
    }
    used.add(found);
    renamed.set(
      fillBlock(role.hf, block),
      inHuggingFaceForm({ ...lazy, name: fillBlock(role.hf, block) }, named, sizes),
    );
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

function inHuggingFaceForm(lazy: LazyTensor, { role }: NamedRole, sizes: ModelSizes): LazyTensor {
  if (role.gainLessOne) return subtractOneLazy(lazy);
  return role.rotaryHeads ? permuteRowsLazy(lazy, sizes[role.rotaryHeads], true) : lazy;
}

/** Files may hold query, key and value as one tensor where their architecture has three. */
function fusedName(ggufName: string): string {
  return ggufName.replace(/\.attn_[qkv]\.(weight|bias)$/, '.attn_qkv.$1');
}

function partOfFused(fused: LazyTensor, { role }: NamedRole, { heads, kvHeads, headDim }: ModelSizes): LazyTensor {
  const query = heads * headDim;
  const keyEnd = query + kvHeads * headDim;
  const rows = keyEnd + kvHeads * headDim;
  if (fused.shape[0] !== rows) {
    throw new HalftoneError('SHAPE', `${fused.name}: ${fused.shape[0]} rows are not the header's ${rows}`, {
      where: WHERE,
      details: { tensor: fused.name, shape: fused.shape, rows },
    });
  }
  if (role.gguf.includes('attn_q.')) return sliceRowsLazy(fused, 0, query);
  return role.gguf.includes('attn_k.') ? sliceRowsLazy(fused, query, keyEnd) : sliceRowsLazy(fused, keyEnd, rows);
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

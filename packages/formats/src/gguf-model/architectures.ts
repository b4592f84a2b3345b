import type { Shape } from '@halftone/tensor';

/** GGUF architectures of this version. `llama` also holds Hugging Face's `mistral`. */
export type GgufArchitecture = 'llama' | 'qwen2' | 'qwen3' | 'gpt2';

export const GGUF_ARCHITECTURES: readonly GgufArchitecture[] = ['llama', 'qwen2', 'qwen3', 'gpt2'];

export function isGgufArchitecture(name: string): name is GgufArchitecture {
  return (GGUF_ARCHITECTURES as readonly string[]).includes(name);
}

/** Hugging Face `model_type` to GGUF `general.architecture`. */
export const GGUF_ARCHITECTURE_OF_MODEL_TYPE: Readonly<Record<string, GgufArchitecture>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  gpt2: 'gpt2',
};

/** The sizes that tensor shapes follow from. */
export interface ModelSizes {
  readonly vocabulary: number;
  readonly context: number;
  readonly embedding: number;
  readonly blocks: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** One tensor of an architecture, in both naming schemes. `{}` stands for the block index. */
export interface TensorRole {
  readonly gguf: string;
  /** With the prefix of a causal language model (`model.`, `transformer.`). */
  readonly hf: string;
  readonly required: boolean;
  /** Logical shape: linear weights are `[out, in]`. */
  readonly shape: (sizes: ModelSizes) => Shape;
  /** GPT-2's Conv1D weights lie `[in, out]` in Hugging Face files. */
  readonly conv1d?: true;
  /** Rows are heads whose rotary halves GGUF interleaves. */
  readonly rotaryHeads?: 'heads' | 'kvHeads';
  /** Norms, biases and positions, which llama.cpp wants in F32. */
  readonly float: boolean;
}

type ShapeOf = (sizes: ModelSizes) => Shape;

const queryRows = (s: ModelSizes) => s.heads * s.headDim;
const kvRows = (s: ModelSizes) => s.kvHeads * s.headDim;
const embedding: ShapeOf = (s) => [s.embedding];
const headNorm: ShapeOf = (s) => [s.headDim];
const vocabularyRows: ShapeOf = (s) => [s.vocabulary, s.embedding];

function weight(gguf: string, hf: string, shape: ShapeOf, more: Partial<TensorRole> = {}): TensorRole {
  return { gguf: `${gguf}.weight`, hf: `${hf}.weight`, shape, required: true, float: false, ...more };
}

function bias(gguf: string, hf: string, shape: ShapeOf, more: Partial<TensorRole> = {}): TensorRole {
  return { gguf: `${gguf}.bias`, hf: `${hf}.bias`, shape, required: false, float: true, ...more };
}

const norm = (gguf: string, hf: string, shape: ShapeOf = embedding) => weight(gguf, hf, shape, { float: true });

function llamaRoles(architecture: 'llama' | 'qwen2' | 'qwen3'): TensorRole[] {
  const layer = 'model.layers.{}';
  const rotary = architecture === 'llama';
  const query = rotary ? { rotaryHeads: 'heads' as const } : {};
  const key = rotary ? { rotaryHeads: 'kvHeads' as const } : {};
  const roles = [
    weight('token_embd', 'model.embed_tokens', vocabularyRows),
    norm('blk.{}.attn_norm', `${layer}.input_layernorm`),
    weight('blk.{}.attn_q', `${layer}.self_attn.q_proj`, (s) => [queryRows(s), s.embedding], query),
    weight('blk.{}.attn_k', `${layer}.self_attn.k_proj`, (s) => [kvRows(s), s.embedding], key),
    weight('blk.{}.attn_v', `${layer}.self_attn.v_proj`, (s) => [kvRows(s), s.embedding]),
    weight('blk.{}.attn_output', `${layer}.self_attn.o_proj`, (s) => [s.embedding, queryRows(s)]),
    norm('blk.{}.ffn_norm', `${layer}.post_attention_layernorm`),
    weight('blk.{}.ffn_gate', `${layer}.mlp.gate_proj`, (s) => [s.feedForward, s.embedding]),
    weight('blk.{}.ffn_up', `${layer}.mlp.up_proj`, (s) => [s.feedForward, s.embedding]),
    weight('blk.{}.ffn_down', `${layer}.mlp.down_proj`, (s) => [s.embedding, s.feedForward]),
    norm('output_norm', 'model.norm'),
    weight('output', 'lm_head', vocabularyRows, { required: false }),
  ];
  if (architecture === 'qwen3') {
    roles.push(
      norm('blk.{}.attn_q_norm', `${layer}.self_attn.q_norm`, headNorm),
      norm('blk.{}.attn_k_norm', `${layer}.self_attn.k_norm`, headNorm),
    );
    return roles;
  }
  roles.push(
    bias('blk.{}.attn_q', `${layer}.self_attn.q_proj`, (s) => [queryRows(s)], query),
    bias('blk.{}.attn_k', `${layer}.self_attn.k_proj`, (s) => [kvRows(s)], key),
    bias('blk.{}.attn_v', `${layer}.self_attn.v_proj`, (s) => [kvRows(s)]),
  );
  if (architecture === 'llama') {
    roles.push(
      bias('blk.{}.attn_output', `${layer}.self_attn.o_proj`, embedding),
      bias('blk.{}.ffn_gate', `${layer}.mlp.gate_proj`, (s) => [s.feedForward]),
      bias('blk.{}.ffn_up', `${layer}.mlp.up_proj`, (s) => [s.feedForward]),
      bias('blk.{}.ffn_down', `${layer}.mlp.down_proj`, embedding),
    );
  }
  return roles;
}

function gpt2Roles(): TensorRole[] {
  const layer = 'transformer.h.{}';
  const linear = (gguf: string, hf: string, out: (s: ModelSizes) => number, input: (s: ModelSizes) => number) => [
    weight(gguf, hf, (s) => [out(s), input(s)], { conv1d: true }),
    bias(gguf, hf, (s) => [out(s)], { required: true }),
  ];
  const layerNorm = (gguf: string, hf: string) => [norm(gguf, hf), bias(gguf, hf, embedding, { required: true })];
  const e = (s: ModelSizes) => s.embedding;
  return [
    weight('token_embd', 'transformer.wte', vocabularyRows),
    weight('position_embd', 'transformer.wpe', (s) => [s.context, s.embedding], { float: true }),
    ...layerNorm('blk.{}.attn_norm', `${layer}.ln_1`),
    ...linear('blk.{}.attn_qkv', `${layer}.attn.c_attn`, (s) => 3 * s.embedding, e),
    ...linear('blk.{}.attn_output', `${layer}.attn.c_proj`, e, e),
    ...layerNorm('blk.{}.ffn_norm', `${layer}.ln_2`),
    ...linear('blk.{}.ffn_up', `${layer}.mlp.c_fc`, (s) => s.feedForward, e),
    ...linear('blk.{}.ffn_down', `${layer}.mlp.c_proj`, e, (s) => s.feedForward),
    ...layerNorm('output_norm', 'transformer.ln_f'),
    weight('output', 'lm_head', vocabularyRows, { required: false }),
  ];
}

/** Every tensor an architecture can have, in the order llama.cpp's converter writes them. */
export function tensorRoles(architecture: GgufArchitecture): readonly TensorRole[] {
  return architecture === 'gpt2' ? gpt2Roles() : llamaRoles(architecture);
}

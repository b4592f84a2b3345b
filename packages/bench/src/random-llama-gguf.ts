import { readFile, stat } from 'node:fs/promises';
import { type GgufModelPlan, ggufLayout, huggingFaceToGguf, writeGguf } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import type { TensorEntry } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';

export interface RandomLlamaShape {
  readonly hidden: number;
  readonly feedForward: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** At least 8192, the tokens of wren's tokenizer; ids beyond those are unused tokens. */
  readonly vocabulary: number;
  readonly context: number;
}

/** 1.1 billion parameters. */
export const TINY_LLAMA_SHAPE: RandomLlamaShape = {
  hidden: 2048,
  feedForward: 5632,
  layers: 22,
  heads: 32,
  kvHeads: 4,
  vocabulary: 32000,
  context: 2048,
};

export interface RandomLlama {
  readonly path: string;
  readonly parameters: number;
  /** Of the file. */
  readonly bytes: number;
}

/**
 * Writes a GGUF llama of random blocks as llama.cpp's Q4_0 mixture stores it: an output matrix of its own in Q6_K, norms of
 * ones in float32, all else in Q4_0. Weights have a standard deviation of about 0.025, so activations stay finite. A file of
 * the right size at `path` is taken as it is.
 */
export async function randomLlamaGguf(path: string, shape: RandomLlamaShape = TINY_LLAMA_SHAPE): Promise<RandomLlama> {
  const { metadata, tensors } = await planOf(shape);
  const entries = tensors.map(
    ({ ggufName, shape, keepFloat }): TensorEntry => ({
      name: ggufName,
      dtype: keepFloat ? 'f32' : ggufName === 'output.weight' ? 'Q6_K' : 'Q4_0',
      shape,
    }),
  );
  const keys = [...metadata, { key: 'general.file_type', type: 'u32', value: 2 } as const];
  const { byteLength } = ggufLayout(keys, entries);
  const parameters = entries.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  if (!(await isFileOf(path, byteLength))) {
    const sink = await fileSink(path, { expectedBytes: byteLength });
    const sources = { f32: ones(), Q4_0: q4Blocks(), Q6_K: q6Blocks() };
    const data = ({ dtype, byteLength }: TensorEntry & { byteLength: number }) =>
      pieces(sources[dtype as keyof typeof sources], byteLength);
    await writeGguf(sink, entries, { metadata: keys, data });
  }
  return { path, parameters, bytes: byteLength };
}

async function planOf(shape: RandomLlamaShape): Promise<GgufModelPlan> {
  const { hidden, feedForward, heads, kvHeads, vocabulary } = shape;
  const keyWidth = (hidden / heads) * kvHeads;
  const tensors = new Map<string, { readonly shape: readonly number[] }>();
  const add = (name: string, ...shape: number[]) => void tensors.set(`${name}.weight`, { shape });
  add('model.embed_tokens', vocabulary, hidden);
  for (let layer = 0; layer < shape.layers; layer++) {
    const at = `model.layers.${layer}`;
    add(`${at}.input_layernorm`, hidden);
    for (const [name, rows] of Object.entries({ q: hidden, k: keyWidth, v: keyWidth, o: hidden }))
      add(`${at}.self_attn.${name}_proj`, rows, hidden);
    add(`${at}.post_attention_layernorm`, hidden);
    for (const name of ['gate', 'up']) add(`${at}.mlp.${name}_proj`, feedForward, hidden);
    add(`${at}.mlp.down_proj`, hidden, feedForward);
  }
  add('model.norm', hidden);
  add('lm_head', vocabulary, hidden);
  const [config, tokenizerJson] = await Promise.all(['config.json', 'tokenizer.json'].map(readJson));
  const configJson = {
    ...config,
    hidden_size: hidden,
    intermediate_size: feedForward,
    num_hidden_layers: shape.layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: hidden / heads,
    vocab_size: vocabulary,
    max_position_embeddings: shape.context,
    tie_word_embeddings: false,
  };
  return huggingFaceToGguf({ configJson, tensors, tokenizerJson, name: 'random-llama' });
}

async function readJson(name: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(new URL(name, modelUrl), 'utf8')) as Record<string, unknown>;
}

async function isFileOf(path: string, byteLength: number): Promise<boolean> {
  try {
    return (await stat(path)).size === byteLength;
  } catch {
    return false;
  }
}

function ones(): Uint8Array {
  return new Uint8Array(new Float32Array(4096).fill(1).buffer);
}

/** 2 bytes of scale, 2^-8 to 2^-7 in float16, then 16 of codes. */
function q4Blocks(): Uint8Array {
  const bytes = randomBytes(18 << 20);
  for (let at = 0; at < bytes.length; at += 18) bytes[at + 1] = 0x1c | (bytes[at + 1] & 3);
  return bytes;
}

/** 192 bytes of codes, 16 scales of 4 to 11, then 2^-13 to 2^-12 in float16. */
function q6Blocks(): Uint8Array {
  const bytes = randomBytes(210 << 16);
  for (let at = 0; at < bytes.length; at += 210) {
    for (let i = 192; i < 208; i++) bytes[at + i] = 4 + (bytes[at + i] & 7);
    bytes[at + 209] = 0x08 | (bytes[at + 209] & 3);
  }
  return bytes;
}

function randomBytes(length: number): Uint8Array {
  const words = new Uint32Array(length / 4);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

function* pieces(source: Uint8Array, byteLength: number): Generator<Uint8Array> {
  for (let left = byteLength; left > 0; left -= source.length) yield source.subarray(0, Math.min(left, source.length));
}

import { huggingFaceToGguf, writeGguf } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';

/** Of TinyLlama: 1.1 billion parameters. */
const HIDDEN = 2048;
const FEED_FORWARD = 5632;
const LAYERS = 22;
const HEADS = 32;
const KV_HEADS = 4;
const VOCABULARY = 32000;

/** Writes a llama as GGUF, its matrices as random Q4_0 blocks. It has no tokenizer. */
export async function writeRandomLlama(path: string): Promise<void> {
  const { metadata, tensors } = huggingFaceToGguf({ configJson: CONFIG, tensors: shapes() });
  const entries = tensors.map(({ ggufName, shape, keepFloat }) => {
    return { name: ggufName, dtype: keepFloat ? 'f32' : 'Q4_0', shape } as const;
  });
  const blocks = randomBlocks();
  const ones = new Uint8Array(new Float32Array(HIDDEN).fill(1).buffer);
  await writeGguf(await fileSink(path), entries, {
    metadata,
    data: ({ dtype, byteLength }) => (dtype === 'f32' ? ones : pieces(blocks, byteLength)),
  });
}

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: HIDDEN,
  intermediate_size: FEED_FORWARD,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS,
  num_key_value_heads: KV_HEADS,
  vocab_size: VOCABULARY,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
};

function shapes(): Map<string, { readonly shape: readonly number[] }> {
  const tensors = new Map<string, { readonly shape: readonly number[] }>();
  const add = (name: string, ...shape: number[]) => tensors.set(`${name}.weight`, { shape });
  add('model.embed_tokens', VOCABULARY, HIDDEN);
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = `model.layers.${layer}`;
    add(`${at}.input_layernorm`, HIDDEN);
    add(`${at}.post_attention_layernorm`, HIDDEN);
    for (const name of ['q', 'o']) add(`${at}.self_attn.${name}_proj`, HIDDEN, HIDDEN);
    for (const name of ['k', 'v']) add(`${at}.self_attn.${name}_proj`, (HIDDEN / HEADS) * KV_HEADS, HIDDEN);
    for (const name of ['gate', 'up']) add(`${at}.mlp.${name}_proj`, FEED_FORWARD, HIDDEN);
    add(`${at}.mlp.down_proj`, HIDDEN, FEED_FORWARD);
  }
  add('model.norm', HIDDEN);
  add('lm_head', VOCABULARY, HIDDEN);
  return tensors;
}

/** 8 MiB or so; scales of 2^-8 to 2^-7. */
function randomBlocks(): Uint8Array {
  const bytes = new Uint8Array(18 * 2 ** 19);
  let state = 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = i % 18 === 1 ? 0x1c | (state >>> 30) : state >>> 24;
  }
  return bytes;
}

function* pieces(blocks: Uint8Array, byteLength: number): Generator<Uint8Array> {
  for (let left = byteLength; left > 0; left -= blocks.length) yield blocks.subarray(0, Math.min(left, blocks.length));
}

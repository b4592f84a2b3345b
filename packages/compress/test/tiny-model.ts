import { readFileSync } from 'node:fs';
import { type Checkpoint, encode, type LazyTensor, packedByteLength, type StorageType } from '@halftone/tensor';
import { type ModelSource, modelSource } from '@halftone/transformer';
import { modelUrl } from '@halftone/wren-5m';

export const TINY_CONFIG = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  vocab_size: 8192,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 0,
};

/** A random llama with wren's tokenizer. `damage` may change a tensor's values before they are stored. */
export function tinyModel(damage: (name: string, values: Float32Array) => void = () => {}): ModelSource {
  const tensors = new Map<string, LazyTensor>();
  let seed = 1;
  const add = (name: string, ...shape: number[]) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      values[i] = shape.length === 1 ? 1 : (seed / 2 ** 32 - 0.5) * 0.1;
    }
    damage(name, values);
    tensors.set(name, lazyTensor(name, 'f32', shape, values));
  };
  add('model.embed_tokens.weight', 8192, 256);
  for (let layer = 0; layer < TINY_CONFIG.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    add(`${at}.input_layernorm.weight`, 256);
    add(`${at}.self_attn.q_proj.weight`, 256, 256);
    add(`${at}.self_attn.k_proj.weight`, 128, 256);
    add(`${at}.self_attn.v_proj.weight`, 128, 256);
    add(`${at}.self_attn.o_proj.weight`, 256, 256);
    add(`${at}.post_attention_layernorm.weight`, 256);
    add(`${at}.mlp.gate_proj.weight`, 512, 256);
    add(`${at}.mlp.up_proj.weight`, 512, 256);
    add(`${at}.mlp.down_proj.weight`, 256, 512);
  }
  add('model.norm.weight', 256);
  return modelSource({ configJson: TINY_CONFIG, checkpoint: memoryCheckpoint(tensors), tokenizer: wrenTokenizer() });
}

function wrenTokenizer() {
  return {
    tokenizerJson: JSON.parse(readFileSync(new URL('tokenizer.json', modelUrl), 'utf8')) as Record<string, unknown>,
  };
}

function memoryCheckpoint(tensors: ReadonlyMap<string, LazyTensor>): Checkpoint {
  const byteLength = [...tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0);
  return { format: 'memory', metadata: new Map(), tensors, byteLength, async close() {} };
}

function lazyTensor(name: string, dtype: 'f32', shape: number[], values: Float32Array): LazyTensor<StorageType> {
  const columns = shape.length < 2 ? 1 : (shape[1] as number);
  return {
    kind: 'lazy',
    name,
    dtype,
    shape,
    byteLength: packedByteLength(dtype, shape),
    async read({ start, end } = { start: 0, end: shape[0] as number }) {
      return encode(values.subarray(start * columns, end * columns), dtype, [end - start, ...shape.slice(1)]);
    },
  };
}

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensorsShards } from '@halftone/formats';
import { fileSink } from '@halftone/formats/node';
import type { TensorEntry } from '@halftone/tensor';
import { modelUrl } from '@halftone/wren-5m';

const HIDDEN = 2048;
const FEED_FORWARD = 5632;
const VOCABULARY = 8192;

export interface SyntheticLlama {
  readonly layers: number;
  /** Of all weights. */
  readonly bytes: number;
}

/**
 * Writes a random bf16 llama of about so many bytes in the Hugging Face layout: shards of 1 GB, TinyLlama's widths, wren's
 * tokenizer. The folder must not exist.
 */
export async function writeSyntheticLlama(folder: string, bytes: number): Promise<SyntheticLlama> {
  await mkdir(folder);
  const blockBytes = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * FEED_FORWARD);
  const layers = Math.max(1, Math.round((bytes - 2 * VOCABULARY * HIDDEN) / blockBytes));
  const config = JSON.parse(await readFile(new URL('config.json', modelUrl), 'utf8')) as Record<string, unknown>;
  Object.assign(config, {
    hidden_size: HIDDEN,
    intermediate_size: FEED_FORWARD,
    num_hidden_layers: layers,
    num_attention_heads: HIDDEN / 64,
    num_key_value_heads: HIDDEN / 64,
  });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'tokenizer.json'), await readFile(new URL('tokenizer.json', modelUrl)));
  const entries = llamaEntries(layers);
  const noise = bfloat16Noise(32 * 2 ** 20);
  await writeSafetensorsShards(entries, {
    maxShardBytes: 1e9,
    createSink: (name, expectedBytes) => fileSink(join(folder, name), { expectedBytes }),
    data: ({ byteLength }) => pieces(noise, byteLength),
  });
  return { layers, bytes: entries.reduce((sum, { shape }) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0) };
}

function llamaEntries(layers: number): TensorEntry[] {
  const entry = (name: string, ...shape: number[]): TensorEntry => ({ name, dtype: 'bf16', shape });
  const entries = [entry('model.embed_tokens.weight', VOCABULARY, HIDDEN)];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    entries.push(
      entry(`${at}.input_layernorm.weight`, HIDDEN),
      ...['q', 'k', 'v', 'o'].map((name) => entry(`${at}.self_attn.${name}_proj.weight`, HIDDEN, HIDDEN)),
      entry(`${at}.post_attention_layernorm.weight`, HIDDEN),
      entry(`${at}.mlp.gate_proj.weight`, FEED_FORWARD, HIDDEN),
      entry(`${at}.mlp.up_proj.weight`, FEED_FORWARD, HIDDEN),
      entry(`${at}.mlp.down_proj.weight`, HIDDEN, FEED_FORWARD),
    );
  }
  return [...entries, entry('model.norm.weight', HIDDEN)];
}

/** Random bf16 values of magnitude 2^-8 to 2^-4, both signs. */
function bfloat16Noise(byteLength: number): Uint8Array {
  const words = new Uint16Array(byteLength / 2);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = ((state >>> 16) & 0x8000) | (0x3b80 + ((state >>> 8) & 0x01ff));
  }
  return new Uint8Array(words.buffer);
}

function* pieces(noise: Uint8Array, byteLength: number): Generator<Uint8Array> {
  for (let left = byteLength; left > 0; left -= noise.length) yield noise.subarray(0, Math.min(left, noise.length));
}

import { readFile } from 'node:fs/promises';
import { decode, isHalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { llama2cConfig } from '../src/index.js';
import { openCheckpointPath } from '../src/node.js';
import { hasSharedModels, sharedModel } from './support/shared.js';

describe.skipIf(!hasSharedModels)('real models (skipped where HALFTONE_SHARED has none)', () => {
  it('opens the folder wren-5m with the shapes of its config', async () => {
    const checkpoint = await openCheckpointPath(sharedModel('wren-5m'));
    const config = JSON.parse(await readFile(sharedModel('wren-5m', 'config.json'), 'utf8'));
    expect(checkpoint.format).toBe('safetensors');
    expect(checkpoint.metadata.get('format')).toBe('pt');
    const embedding = checkpoint.tensors.get('model.embed_tokens.weight');
    expect(embedding?.dtype).toBe('bf16');
    expect(embedding?.shape).toEqual([config.vocab_size, config.hidden_size]);
    const key = checkpoint.tensors.get('model.layers.3.self_attn.k_proj.weight');
    expect(key?.shape).toEqual([config.num_key_value_heads * config.head_dim, config.hidden_size]);
    const rows = await embedding?.read({ start: 5, end: 7 });
    const whole = await embedding?.read();
    expect(rows?.shape).toEqual([2, config.hidden_size]);
    expect(rows?.bytes).toEqual(whole?.bytes.slice(5 * 2 * config.hidden_size, 7 * 2 * config.hidden_size));
    await checkpoint.close();
  });

  it.each(['bookworm-29m', 'bookworm-gpt2-14m'])('opens the shards of %s as one', async (folder) => {
    const checkpoint = await openCheckpointPath(sharedModel(folder));
    const index = JSON.parse(await readFile(sharedModel(folder, 'model.safetensors.index.json'), 'utf8'));
    expect([...checkpoint.tensors.keys()].sort()).toEqual(Object.keys(index.weight_map).sort());
    const bytes = [...checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0);
    expect(bytes).toBe(index.metadata.total_size);
    for (const tensor of checkpoint.tensors.values()) {
      const packed = await tensor.read({ start: 0, end: 1 });
      expect(decode(packed as Parameters<typeof decode>[0]).every(Number.isFinite)).toBe(true);
    }
    await checkpoint.close();
  });

  it('opens stories260k with Hugging Face names', async () => {
    const checkpoint = await openCheckpointPath(sharedModel('stories260k', 'stories260K.bin'));
    expect(checkpoint.format).toBe('llama2c');
    expect(llama2cConfig(checkpoint)).toMatchObject({
      model_type: 'llama',
      hidden_size: 64,
      intermediate_size: 172,
      num_hidden_layers: 5,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      vocab_size: 512,
      max_position_embeddings: 512,
      tie_word_embeddings: true,
    });
    expect(checkpoint.tensors.size).toBe(2 + 5 * 9);
    expect(checkpoint.tensors.get('model.layers.4.self_attn.k_proj.weight')?.shape).toEqual([32, 64]);
    const gain = await checkpoint.tensors.get('model.norm.weight')?.read();
    const values = decode(gain as Parameters<typeof decode>[0]);
    // The gains of a trained final norm are positive; RoPE tables or another tensor would not be.
    expect(values.every((value) => value > 0)).toBe(true);
    await checkpoint.close();
  });

  it('chooses the model in the folder of stories260k', async () => {
    const checkpoint = await openCheckpointPath(sharedModel('stories260k'));
    expect(checkpoint.format).toBe('llama2c');
    await checkpoint.close();
  });

  it('names the missing path', async () => {
    const error = await openCheckpointPath(sharedModel('no-such-model')).catch((e: unknown) => e);
    expect(isHalftoneError(error) && error.code).toBe('IO');
    expect(String(error)).toContain('no-such-model');
  });
});

import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { gguf, openCheckpoint, safetensors } from '../src/index.js';
import { fileSource } from '../src/node.js';
import { hasSharedModels, sharedModel } from './support/shared.js';

describe.skipIf(!hasSharedModels)('real models (skipped where HALFTONE_SHARED has none)', () => {
  it('opens wren-5m with the shapes of its config', async () => {
    const path = sharedModel('wren-5m', 'model.safetensors');
    const checkpoint = await openCheckpoint(await fileSource(path), { codecs: [gguf, safetensors] });
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
});

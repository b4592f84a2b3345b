import { decode, type PackedTensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { gguf, llama2c, llama2cConfig, openCheckpoint, safetensors } from '../src/index.js';
import { expectFailure, llama2cFile, memory, safetensorsFile } from './support/files.js';

const values = (packed: PackedTensor | undefined) => [...decode(packed as Parameters<typeof decode>[0])];
const open = (file: Uint8Array) => llama2c.open(memory(file));

describe('llama2c', () => {
  it('gives Hugging Face names, shapes and configuration', async () => {
    const checkpoint = await open(llama2cFile());
    expect(
      Object.fromEntries([...checkpoint.tensors].map(([name, { shape }]) => [name, shape.join('x')])),
    ).toMatchObject({
      'model.embed_tokens.weight': '5x8',
      'model.layers.1.self_attn.q_proj.weight': '8x8',
      'model.layers.1.self_attn.k_proj.weight': '4x8',
      'model.layers.0.mlp.gate_proj.weight': '12x8',
      'model.layers.0.mlp.down_proj.weight': '8x12',
      'model.norm.weight': '8',
    });
    expect(llama2cConfig(checkpoint)).toMatchObject({
      hidden_size: 8,
      head_dim: 4,
      num_key_value_heads: 1,
      vocab_size: 5,
      max_position_embeddings: 3,
      tie_word_embeddings: true,
    });
  });

  it('finds each tensor where run.c does', async () => {
    // Values count upward from 0 in file order.
    const { tensors } = await open(llama2cFile());
    const first = async (name: string) => values(await tensors.get(name)?.read())[0];
    const q = 5 * 8 + 2 * 8;
    expect(await first('model.embed_tokens.weight')).toBe(0);
    expect(await first('model.layers.1.input_layernorm.weight')).toBe(5 * 8 + 8);
    expect(await first('model.layers.0.self_attn.q_proj.weight')).toBe(q);
    expect(await first('model.layers.0.self_attn.k_proj.weight')).toBe(q + 2 * 64);
    expect(await first('model.layers.1.self_attn.v_proj.weight')).toBe(q + 2 * 64 + 2 * 32 + 32);
    const o = q + 2 * 64 + 4 * 32;
    expect(await first('model.layers.0.self_attn.o_proj.weight')).toBe(o);
    expect(await first('model.layers.0.post_attention_layernorm.weight')).toBe(o + 2 * 64);
    const gate = o + 2 * 64 + 16;
    expect(await first('model.layers.0.mlp.gate_proj.weight')).toBe(gate);
    expect(await first('model.layers.0.mlp.down_proj.weight')).toBe(gate + 2 * 96);
    expect(await first('model.layers.1.mlp.up_proj.weight')).toBe(gate + 5 * 96);
    expect(await first('model.norm.weight')).toBe(gate + 6 * 96);
  });

  it('brings query and key rows into the half-split order', async () => {
    const { tensors } = await open(llama2cFile());
    const q = tensors.get('model.layers.0.self_attn.q_proj.weight');
    const base = 5 * 8 + 2 * 8;
    const rowStarts = values(await q?.read())
      .filter((_, i) => i % 8 === 0)
      .map((value) => (value - base) / 8);
    // Heads of 4 rows: even rows first, then odd ones.
    expect(rowStarts).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    for (let start = 0; start <= 8; start++) {
      for (let end = start; end <= 8; end++) {
        const part = await q?.read({ start, end });
        expect(part?.shape).toEqual([end - start, 8]);
        expect(
          values(part)
            .filter((_, i) => i % 8 === 0)
            .map((value) => (value - base) / 8),
        ).toEqual(rowStarts.slice(start, end));
      }
    }
  });

  it('reads a separate classifier when the vocabulary size is negative', async () => {
    const checkpoint = await open(llama2cFile(-5));
    expect(llama2cConfig(checkpoint)).toMatchObject({ vocab_size: 5, tie_word_embeddings: false });
    const head = checkpoint.tensors.get('lm_head.weight');
    expect(head?.shape).toEqual([5, 8]);
    // The last values of the file: the RoPE tables before them are skipped.
    const size = (checkpoint.byteLength - 28) / 4;
    expect(values(await head?.read())).toEqual(Array.from({ length: 40 }, (_, i) => size - 40 + i));
  });

  it('is recognised beside the other formats and does not take their files', async () => {
    const codecs = [llama2c, safetensors, gguf];
    expect((await openCheckpoint(memory(llama2cFile()), { codecs })).format).toBe('llama2c');
    const other = await safetensorsFile([{ name: 'w', dtype: 'f32', shape: [4] }]);
    expect((await openCheckpoint(memory(other), { codecs })).format).toBe('safetensors');
    const opened = await openCheckpoint(memory(other), { codecs });
    await expectFailure(() => llama2cConfig(opened), 'UNSUPPORTED', 'safetensors');
  });

  it('refuses headers that do not describe the file', async () => {
    const file = llama2cFile();
    const withField = (index: number, value: number) => {
      const copy = file.slice();
      new DataView(copy.buffer).setInt32(4 * index, value, true);
      return copy;
    };
    await expectFailure(() => open(file.subarray(0, 20)), 'FORMAT', 'too few');
    await expectFailure(() => open(file.subarray(0, file.length - 4)), 'FORMAT', 'cut off');
    const longer = new Uint8Array(file.length + 4);
    longer.set(file);
    await expectFailure(() => open(longer), 'FORMAT', String(file.length));
    await expectFailure(() => open(withField(0, 0)), 'FORMAT', 'dim');
    await expectFailure(() => open(withField(0, -8)), 'FORMAT', 'dim');
    await expectFailure(() => open(withField(2, 2 ** 30)), 'FORMAT', 'n_layers');
    await expectFailure(() => open(withField(2, 1024)), 'FORMAT', 'cut off');
    await expectFailure(() => open(withField(3, 3)), 'FORMAT', 'heads');
    await expectFailure(() => open(withField(4, 3)), 'FORMAT', 'heads');
    await expectFailure(() => open(withField(5, 2 ** 31 - 1)), 'FORMAT', 'vocab_size');
    await expectFailure(() => open(withField(5, 6)), 'FORMAT', 'cut off');
  });
});

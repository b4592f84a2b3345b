import type { FormatCodec, TensorEntry } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { formatCodecChecks } from '../src/conformance.js';
import { gguf, llama2c, safetensors } from '../src/index.js';
import { ggufFile, llama2cFile, safetensorsFile } from './support/files.js';

const SAFETENSORS_ENTRIES: TensorEntry[] = [
  { name: 'matrix', dtype: 'bf16', shape: [5, 3] },
  { name: 'cube', dtype: 'f32', shape: [3, 2, 4] },
  { name: 'vector', dtype: 'i64', shape: [7] },
  { name: 'scalar', dtype: 'u8', shape: [] },
  { name: 'empty', dtype: 'f16', shape: [0, 4] },
  { name: 'four', dtype: 'f4_e2m1', shape: [3, 6] },
  { name: 'six', dtype: 'f6_e3m2', shape: [2, 8] },
];
const GGUF_ENTRIES: TensorEntry[] = [
  { name: 'token_embd.weight', dtype: 'Q4_K', shape: [3, 512] },
  { name: 'blk.0.attn_q.weight', dtype: 'Q8_0', shape: [4, 64] },
  { name: 'blk.0.attn_norm.weight', dtype: 'f32', shape: [10] },
  { name: 'vector', dtype: 'Q5_0', shape: [96] },
  { name: 'cube', dtype: 'bf16', shape: [2, 3, 5] },
];

const cases: [FormatCodec, Uint8Array][] = [
  [safetensors, await safetensorsFile(SAFETENSORS_ENTRIES)],
  [
    gguf,
    await ggufFile(GGUF_ENTRIES, [
      { key: 'general.architecture', type: 'string', value: 'llama' },
      { key: 'llama.block_count', type: 'u32', value: 1 },
      { key: 'tokenizer.ggml.tokens', type: 'string[]', value: ['a', 'bc', 'déf', ''] },
      { key: 'tokenizer.ggml.scores', type: 'f32[]', value: [0, -1, 2.5, 4] },
    ]),
  ],
  [llama2c, llama2cFile()],
];

for (const [codec, file] of cases) {
  describe(`${codec.name} codec`, () => {
    for (const { name, run } of formatCodecChecks(codec, { file, mutations: 3000 })) it(name, run);
  });
}

describe('formatCodecChecks', () => {
  it('finds a codec that ignores row ranges', async () => {
    const file = await safetensorsFile(SAFETENSORS_ENTRIES);
    const careless: FormatCodec = {
      ...safetensors,
      async open(source, options) {
        const checkpoint = await safetensors.open(source, options);
        const tensors = new Map(
          [...checkpoint.tensors].map(([name, tensor]) => [name, { ...tensor, read: () => tensor.read() }]),
        );
        return { ...checkpoint, tensors };
      },
    };
    const failed: string[] = [];
    for (const { name, run } of formatCodecChecks(careless, { file, mutations: 1 })) {
      await run().catch(() => failed.push(name));
    }
    expect(failed.some((name) => name.includes('row ranges'))).toBe(true);
    expect(failed.some((name) => name.includes('rows outside'))).toBe(true);
  });

  it('finds a codec that throws plain errors on damage', async () => {
    const file = await safetensorsFile(SAFETENSORS_ENTRIES);
    const careless: FormatCodec = {
      ...safetensors,
      open: (source, options) =>
        safetensors.open(source, options).catch((error) => {
          throw error.code === 'FORMAT' ? new TypeError('undefined is not an object') : error;
        }),
    };
    const failed: string[] = [];
    for (const { name, run } of formatCodecChecks(careless, { file, mutations: 20 })) {
      await run().catch(() => failed.push(name));
    }
    expect(failed.some((name) => name.includes('truncation'))).toBe(true);
  });
});

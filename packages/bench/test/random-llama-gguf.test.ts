import { mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpointPath } from '@halftone/formats/node';
import { llamaLogits, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RandomLlama, randomLlamaGguf } from '../src/index.js';

const SHAPE = { hidden: 256, feedForward: 512, layers: 2, heads: 4, kvHeads: 2, vocabulary: 9000, context: 64 };

describe('a random llama in GGUF', () => {
  let folder: string;
  let model: RandomLlama;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'halftone-bench-'));
    model = await randomLlamaGguf(join(folder, 'model.gguf'), SHAPE);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('has the types of llama.cpp and the parameters of its shape', async () => {
    const checkpoint = await openCheckpointPath(model.path);
    const types = new Map([...checkpoint.tensors.values()].map(({ name, dtype }) => [name, dtype]));
    await checkpoint.close();
    expect(types.get('token_embd.weight')).toBe('Q4_0');
    expect(types.get('output.weight')).toBe('Q6_K');
    expect(types.get('blk.1.ffn_norm.weight')).toBe('f32');
    const block = 256 * (2 * 256 + 2 * 128 + 3 * 512) + 2 * 256;
    expect(model.parameters).toBe(2 * 9000 * 256 + 2 * block + 256);
    expect((await stat(model.path)).size).toBe(model.bytes);
  });

  it('is written again only when it is not whole', async () => {
    const { mtimeMs } = await stat(model.path);
    await randomLlamaGguf(model.path, SHAPE);
    expect((await stat(model.path)).mtimeMs).toBe(mtimeMs);
    await truncate(model.path, model.bytes - 1);
    await randomLlamaGguf(model.path, SHAPE);
    expect((await stat(model.path)).size).toBe(model.bytes);
  });

  it.skipIf(!oracleAvailable())('gives finite logits that differ, in llama.cpp', async () => {
    const logits = await llamaLogits(model.path, [1, 500, 8999]);
    expect(logits.length).toBe(3 * 9000);
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(new Set(logits).size).toBeGreaterThan(1000);
  });
});

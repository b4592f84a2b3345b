import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggmlQuantize, llamaLogits, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createModel, type ModelOptions, type ModelSource, modelSource } from '../src/index.js';
import { openModel } from '../src/node.js';
import { byteTokenizerJson } from './byte-tokenizer.js';
import { writeFloatGguf } from './gguf-file.js';
import { meanDivergence } from './mean-divergence.js';
import { memoryCheckpoint, noise, randomWeights } from './tiny-models.js';

const needsOracle = oracleAvailable() ? '' : ' (skipped: llama.cpp is not installed)';

/** Every row is whole blocks of every type. */
const CONFIG = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 300,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
};
const TOKENS = (() => {
  const next = noise(5);
  return Array.from({ length: 48 }, () => Math.floor((next() + 1) * 150));
})();
const TYPES = Object.keys(GGML_TYPES) as GgmlType[];

describe.skipIf(needsOracle)(`a small random llama in every ggml type${needsOracle}`, () => {
  let folder: string;
  let float: ModelSource;
  const written = new Map<GgmlType, string>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'halftone-ggml-types-'));
    const checkpoint = memoryCheckpoint(randomWeights(CONFIG));
    float = modelSource({ configJson: CONFIG, checkpoint, tokenizer: { tokenizerJson: byteTokenizerJson() } });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The path of the model with all its matrices in one type, by ggml's own encoder. Written once. */
  async function fileOf(type: GgmlType): Promise<string> {
    const path = written.get(type) ?? join(folder, `${type}.gguf`);
    if (!written.has(type)) {
      const encode = (values: Float32Array, rows: number, columns: number) =>
        ggmlQuantize(type, values, rows, columns, importances(columns));
      await writeFloatGguf(float, path, { blocks: { type, encode } });
      written.set(type, path);
    }
    return path;
  }

  it.each(TYPES)('%s predicts as llama.cpp does', async (type) => {
    const path = await fileOf(type);
    const source = await openModel(path);
    const matrices = [...source.checkpoint.tensors.values()].filter(({ shape }) => shape.length === 2);
    expect(new Set(matrices.map(({ dtype }) => dtype))).toEqual(new Set([type]));
    const theirs = await llamaLogits(path, TOKENS);
    const ours = await logits(source);
    const decoded = await logits(source, { precision: 'f32' });
    await source.close();
    expect(theirs).toHaveLength(TOKENS.length * CONFIG.vocab_size);
    const stored = meanDivergence(theirs, ours, CONFIG.vocab_size).mean;
    const exact = meanDivergence(theirs, decoded, CONFIG.vocab_size).mean;
    if (process.env.VERBOSE) console.log(type, 'mean KL', stored.toExponential(2), 'decoded', exact.toExponential(2));
    expect(stored).toBeLessThan(1e-3);
    expect(exact).toBeLessThan(1e-3);
  });

  it('strays further from the float model with fewer bits', async () => {
    const expected = await logits(float);
    const strays: number[] = [];
    for (const type of ['Q8_0', 'Q6_K', 'Q5_K', 'Q4_K', 'Q3_K', 'Q2_K'] as const) {
      const source = await openModel(await fileOf(type));
      strays.push(meanDivergence(expected, await logits(source), CONFIG.vocab_size).mean);
      await source.close();
    }
    expect(strays).toEqual([...strays].sort((a, b) => a - b));
  });
});

async function logits(source: ModelSource, options: ModelOptions = {}): Promise<Float32Array> {
  const model = await createModel(source, options);
  const { data } = await model.forward(TOKENS);
  await model.dispose();
  return data;
}

function importances(columns: number): Float32Array {
  const next = noise(columns);
  return Float32Array.from({ length: columns }, () => 1.5 + next());
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { llamaDescribe, llamaEmbeddings, llamaLogits, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { encode, type LazyTensor } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  applyGgufTransform,
  type GgufArchitecture,
  gguf,
  ggufAsHuggingFace,
  ggufTensorName,
  huggingFaceTensorName,
  huggingFaceToGguf,
  memorySink,
  writeGguf,
} from '../src/index.js';
import { memory } from './support/files.js';
import {
  bertHidden,
  type Config,
  gemmaLogits,
  phi3Logits,
  phiLogits,
  type Weight,
  type Weights,
} from './support/reference-forward.js';
import { TINY_ARCHITECTURES, tinyShapes, tinyWeights } from './support/tiny-architectures.js';

const tokenizerJson = {
  added_tokens: [{ id: 0, content: '<|end|>', special: true }],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', vocab: { '<|end|>': 0, a: 1, b: 2, ab: 3 }, merges: [['a', 'b']] },
};

const TOKENS = [5, 1, 17, 9, 9, 22, 3, 14, 0, 8, 11, 20, 6];
const NAMES = Object.keys(TINY_ARCHITECTURES) as (keyof typeof TINY_ARCHITECTURES)[];

describe('architectures that are converted but not run here', () => {
  it.each(NAMES)('%s comes back with its configuration and every value', async (name) => {
    const config: Config = TINY_ARCHITECTURES[name];
    const weights = tinyWeights(config);
    const file = await ggufFile(config, weights);
    const view = await ggufAsHuggingFace(await gguf.open(memory(file)));
    for (const [key, value] of Object.entries(config)) {
      if (typeof value === 'number') expect(view.configJson[key], key).toBeCloseTo(value, 5);
      else if (value !== null || view.configJson[key] !== undefined) expect(view.configJson[key], key).toEqual(value);
    }
    expect([...view.checkpoint.tensors.keys()].sort()).toEqual([...weights.keys()].sort());
    for (const [tensor, { values }] of weights) {
      const back = await (view.checkpoint.tensors.get(tensor) as LazyTensor).read();
      expect(new Float32Array(back.bytes.slice().buffer), tensor).toEqual(Float32Array.from(values));
    }
    expect(await ggufFile(view.configJson, weights)).toEqual(file);
  });

  it.each(NAMES)('%s has names that lead both ways', (name) => {
    const config: Config = TINY_ARCHITECTURES[name];
    const plan = huggingFaceToGguf({ configJson: config, tensors: tinyShapes(config) });
    const architecture = plan.metadata[0]?.value as GgufArchitecture;
    for (const { ggufName, hfName } of plan.tensors) {
      expect(ggufTensorName(architecture, hfName)).toBe(ggufName);
      expect(huggingFaceTensorName(architecture, ggufName)).toBe(hfName);
    }
  });
});

describe.skipIf(!oracleAvailable())('what llama.cpp makes of them (skipped where its libraries are absent)', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'halftone-architectures-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function written(config: Config, weights: Weights): Promise<string> {
    const path = join(folder, `${String(config.model_type)}.gguf`);
    await writeFile(path, await ggufFile(config, weights));
    return path;
  }

  const FORWARD = {
    gemma: gemmaLogits,
    gemma2: gemmaLogits,
    gemma3_text: gemmaLogits,
    phi: phiLogits,
    phi3: phi3Logits,
  };

  it.each(Object.keys(FORWARD) as (keyof typeof FORWARD)[])(
    'gives the logits of the definition of %s',
    async (name) => {
      const config: Config = TINY_ARCHITECTURES[name];
      const weights = tinyWeights(config);
      const path = await written(config, weights);
      const expected = FORWARD[name](config, weights, TOKENS);
      closeTo(await llamaLogits(path, TOKENS), expected);
    },
  );

  it('takes the long rotary factors of phi3 for a long context', async () => {
    const config: Config = TINY_ARCHITECTURES.phi3;
    const weights = tinyWeights(config);
    const path = await written(config, weights);
    const tokens = Array.from({ length: 260 }, (_, i) => (i * 7 + 3) % 24);
    closeTo(await llamaLogits(path, tokens), phi3Logits(config, weights, tokens, true));
  });

  it('gives the hidden states of bert', async () => {
    const config: Config = TINY_ARCHITECTURES.bert;
    const weights = tinyWeights(config);
    const path = await written(config, weights);
    const description = await llamaDescribe(path);
    expect(description).toMatchObject({ layers: 2, embedding: 32, heads: 4, vocabulary: 24 });
    const [hidden] = await llamaEmbeddings(path, [TOKENS]);
    closeTo(hidden as Float32Array, bertHidden(config, weights, TOKENS));
  });
});

/** ggml's gelu reads a table of half-precision values, which is the largest difference; scores of random models are near 1. */
function closeTo(actual: Float32Array, expected: readonly (readonly number[])[]): void {
  const flat = expected.flat();
  expect(actual.length).toBe(flat.length);
  const largest = flat.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const difference = flat.reduce((most, value, i) => Math.max(most, Math.abs(value - (actual[i] as number))), 0);
  expect(largest).toBeGreaterThan(0.5);
  expect(difference / largest).toBeLessThan(2e-3);
}

async function ggufFile(config: Config, weights: Weights): Promise<Uint8Array> {
  const source = new Map([...weights].map(([name, weight]) => [name, lazy(name, weight)]));
  const plan = huggingFaceToGguf({ configJson: config, tensors: source, tokenizerJson });
  const tensors = plan.tensors.map(({ ggufName, hfName, transform }) => ({
    ...applyGgufTransform(source.get(hfName) as LazyTensor, transform),
    name: ggufName,
  }));
  for (const { ggufName, shape, values } of plan.extraTensors) tensors.push(lazy(ggufName, { shape, values }));
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const sink = memorySink();
  await writeGguf(sink, tensors, {
    metadata: plan.metadata,
    data: async ({ name }) => (await (byName.get(name) as LazyTensor).read()).bytes,
  });
  return sink.bytes();
}

function lazy(name: string, { shape, values }: Weight): LazyTensor {
  const { bytes } = encode(values, 'f32', shape);
  const rowBytes = bytes.length / (shape[0] as number);
  return {
    kind: 'lazy',
    name,
    dtype: 'f32',
    shape,
    byteLength: bytes.length,
    async read({ start, end } = { start: 0, end: shape[0] as number }) {
      const part = bytes.slice(start * rowBytes, end * rowBytes);
      return { kind: 'packed', dtype: 'f32', shape: [end - start, ...shape.slice(1)], bytes: part };
    },
  };
}

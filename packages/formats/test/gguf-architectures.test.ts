import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { llamaDescribe, llamaEmbeddings, llamaLogits, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { encode, isHalftoneError, type LazyTensor, type MetadataValue, type PackedTensor } from '@halftone/tensor';
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
const FULL = 'full_attention';
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

describe('gains stored less 1', () => {
  const shift = async (values: ArrayLike<number>, dtype: 'f32' | 'bf16' | 'f16') => {
    const stored = lazyOf('norm.weight', encode(values, dtype));
    const shifted = applyGgufTransform(stored, { addOne: true });
    expect(shifted.dtype).toBe('f32');
    expect(shifted.byteLength).toBe(4 * values.length);
    return new Float32Array((await shifted.read()).bytes.slice().buffer);
  };

  it('are what transformers multiplies by: float32 sums', async () => {
    const values = [0, -0, 1, -1, 0.5, -0.25, 3.140625, 2 ** -16, 255, Number.POSITIVE_INFINITY];
    for (const dtype of ['f32', 'bf16', 'f16'] as const) {
      expect([...(await shift(values, dtype))]).toEqual(values.map((value) => Math.fround(1 + value)));
    }
    expect([...(await shift([2 ** -30, Number.NaN], 'bf16'))]).toEqual([1, Number.NaN]);
  });

  it('come back from every float32 sum, and are refused from another gain', async () => {
    const config: Config = TINY_ARCHITECTURES.gemma;
    const file = await ggufFile(config, tinyWeights(config));
    const checkpoint = await gguf.open(memory(file));
    const through = async (gains: ArrayLike<number>) => {
      const norm = lazy('output_norm.weight', { shape: [32], values: gains });
      const tensors = new Map(checkpoint.tensors).set('output_norm.weight', norm);
      const view = await ggufAsHuggingFace({ ...checkpoint, tensors });
      const read = await (view.checkpoint.tensors.get('model.norm.weight') as LazyTensor).read();
      return new Float32Array(read.bytes.slice().buffer);
    };
    const less = Float32Array.from({ length: 32 }, (_, i) => (i - 16) ** 3 / 777);
    const gains = less.map((value) => Math.fround(1 + value));
    expect((await through(gains)).map((value) => Math.fround(1 + value))).toEqual(gains);
    await expect(through(gains.fill(0.001, 4, 5))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('are not taken from 64-bit floats', () => {
    const stored = lazyOf('norm.weight', encode([1], 'f64'));
    expect(() => applyGgufTransform(stored, { addOne: true })).toThrow(/norm\.weight: a gain of f64/);
  });
});

describe('query, key and value in one tensor', () => {
  it.each(['gemma', 'phi', 'bert'] as const)('are taken apart for %s', async (name) => {
    const config: Config = TINY_ARCHITECTURES[name];
    const weights = tinyWeights(config);
    const checkpoint = await gguf.open(memory(await ggufFile(config, weights)));
    const tensors = new Map(checkpoint.tensors);
    for (const kind of ['weight', 'bias']) {
      if (!tensors.has(`blk.1.attn_q.${kind}`)) continue;
      const parts = await Promise.all(
        ['q', 'k', 'v'].map((part) => (tensors.get(`blk.1.attn_${part}.${kind}`) as LazyTensor).read()),
      );
      for (const part of ['q', 'k', 'v']) tensors.delete(`blk.1.attn_${part}.${kind}`);
      const rows = parts.reduce((sum, { shape }) => sum + (shape[0] as number), 0);
      const fused = parts.map(({ bytes }) => new Float32Array(bytes.slice().buffer)).flatMap((part) => [...part]);
      const shape = [rows, ...(parts[0]?.shape.slice(1) ?? [])];
      tensors.set(`blk.1.attn_qkv.${kind}`, lazy(`blk.1.attn_qkv.${kind}`, { shape, values: fused }));
    }
    const view = await ggufAsHuggingFace({ ...checkpoint, tensors });
    for (const [tensor, { values }] of weights) {
      const found = view.checkpoint.tensors.get(tensor) as LazyTensor;
      const back = await found.read();
      expect(new Float32Array(back.bytes.slice().buffer), tensor).toEqual(Float32Array.from(values));
      expect(found.byteLength).toBe(back.bytes.length);
      const row = await found.read({ start: 1, end: 2 });
      expect(row.bytes).toEqual(back.bytes.slice(row.bytes.length, 2 * row.bytes.length));
    }
    const wrong = lazy('blk.1.attn_qkv.weight', { shape: [3, 32], values: new Float32Array(96) });
    await expect(ggufAsHuggingFace({ ...checkpoint, tensors: tensors.set(wrong.name, wrong) })).rejects.toMatchObject({
      code: 'SHAPE',
    });
  });
});

describe('what has no GGUF form', () => {
  it.each<[keyof typeof TINY_ARCHITECTURES, Config, RegExp]>([
    ['gemma', { tie_word_embeddings: false }, /head of its own/],
    ['gemma', { hidden_activation: 'relu' }, /activation 'relu'/],
    ['gemma', { hidden_activation: undefined, hidden_act: 'gelu_fast' }, /activation 'gelu_fast'/],
    ['gemma', { rope_scaling: { rope_type: 'linear', factor: 2 } }, /rope_scaling/],
    ['gemma2', { attn_logit_softcapping: null }, /attn_logit_softcapping/],
    ['gemma2', { query_pre_attn_scalar: 17 }, /query_pre_attn_scalar 17/],
    ['gemma3_text', { attn_logit_softcapping: 50 }, /attn_logit_softcapping/],
    ['gemma3_text', { use_bidirectional_attention: true }, /bidirectional/],
    ['gemma3_text', { layer_types: [FULL, 'sliding_attention', FULL, FULL] }, /layer_types/],
    ['phi', { qk_layernorm: true }, /qk_layernorm/],
    ['phi', { partial_rotary_factor: 0.1 }, /partial_rotary_factor/],
    ['phi', { tie_word_embeddings: true }, /tied head/],
    ['phi3', { rope_scaling: { type: 'yarn', factor: 2 } }, /'yarn'/],
    ['phi3', { rope_scaling: { type: 'longrope', long_factor: [1], short_factor: [1] } }, /long_factor must be 6/],
    ['bert', { position_embedding_type: 'relative_key' }, /relative_key/],
    ['bert', { is_decoder: true }, /decoder/],
  ])('%s with %o', (name, differences, message) => {
    const config = { ...TINY_ARCHITECTURES[name], ...differences };
    expect(() => huggingFaceToGguf({ configJson: config, tensors: tinyShapes(config) })).toThrow(message);
  });

  it('is told from what nothing depends on', () => {
    const config = TINY_ARCHITECTURES.bert;
    const shapes = tinyShapes(config);
    const plan = huggingFaceToGguf({ configJson: config, tensors: shapes, pooling: 'mean' });
    expect(plan.metadata).toContainEqual({ key: 'bert.pooling_type', type: 'u32', value: 1 });
    shapes.set('pooler.dense.weight', { shape: [32, 32] }).set('embeddings.position_ids', { shape: [1, 16] });
    expect(huggingFaceToGguf({ configJson: config, tensors: shapes }).tensors).toEqual(plan.tensors);
    shapes.set('classifier.weight', { shape: [2, 32] });
    expect(() => huggingFaceToGguf({ configJson: config, tensors: shapes })).toThrow(/classifier\.weight/);
    const older = new Map(
      [...tinyShapes(config)].map(([name, shape]) => [
        `bert.${name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}`,
        shape,
      ]),
    );
    expect(huggingFaceToGguf({ configJson: config, tensors: older }).tensors.map(({ ggufName }) => ggufName)).toEqual(
      plan.tensors.map(({ ggufName }) => ggufName),
    );
  });

  it('and damage of any key give a HalftoneError', async () => {
    const values = [
      undefined,
      null,
      '',
      'x',
      true,
      0,
      -1,
      1.5,
      2 ** 53,
      Number.NaN,
      [],
      [1, 'a'],
      {},
      { rope_type: 5 },
    ];
    for (const name of NAMES) {
      const config: Config = TINY_ARCHITECTURES[name];
      const checkpoint = await gguf.open(memory(await ggufFile(config, tinyWeights(config))));
      for (const value of values) {
        for (const key of [...Object.keys(config), 'rope_parameters', '_sliding_window_pattern']) {
          expectTyped(() =>
            huggingFaceToGguf({ configJson: { ...config, [key]: value }, tensors: tinyShapes(config) }),
          );
        }
        for (const key of checkpoint.metadata.keys()) {
          const metadata = new Map(checkpoint.metadata).set(key, value as MetadataValue);
          const error = await ggufAsHuggingFace({ ...checkpoint, metadata }).catch((thrown) => thrown);
          if (error instanceof Error) expect(isHalftoneError(error), `${key}: ${error}`).toBe(true);
        }
      }
    }
  });
});

function expectTyped(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    expect(isHalftoneError(error), String(error)).toBe(true);
  }
}

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

  it.each([
    ['a cap of logits', { final_logit_softcapping: 1.5 }],
    ['no window', { sliding_window: null, layer_types: new Array(4).fill('full_attention') }],
    ['a window everywhere', { layer_types: new Array(4).fill('sliding_attention') }],
    ['a whole period', { sliding_window_pattern: 2, layer_types: undefined, rope_scaling: undefined }],
  ])('gives the logits of gemma3 with %s', async (_what, differences) => {
    const config: Config = { ...TINY_ARCHITECTURES.gemma3_text, ...differences };
    const weights = tinyWeights(config);
    const path = await written(config, weights);
    const layer_types = config.layer_types ?? ['sliding_attention', FULL, 'sliding_attention', FULL];
    closeTo(await llamaLogits(path, TOKENS), gemmaLogits({ ...config, layer_types }, weights, TOKENS));
  });

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
  return lazyOf(name, encode(values, 'f32', shape));
}

function lazyOf(name: string, { dtype, shape, bytes }: PackedTensor): LazyTensor {
  const rowBytes = bytes.length / (shape[0] as number);
  return {
    kind: 'lazy',
    name,
    dtype,
    shape,
    byteLength: bytes.length,
    async read({ start, end } = { start: 0, end: shape[0] as number }) {
      const part = bytes.slice(start * rowBytes, end * rowBytes);
      return { kind: 'packed', dtype, shape: [end - start, ...shape.slice(1)], bytes: part };
    },
  };
}

import { rtn } from '@halftone/quantizers';
import {
  dequantize,
  type JsonObject,
  type LazyTensor,
  type QuantizedTensor,
  type Tensor,
  tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { type ModelSource, modelSource } from '@halftone/transformer';
import { describe, expect, it } from 'vitest';
import { memorySink, transposeLazy } from '../../src/index.js';
import { withLayouts } from '../../src/layouts.js';
import { type OnnxDecoderOptions, onnxCodec, onnxLayout, planOnnxDecoder, writeOnnxDecoder } from '../../src/onnx.js';
import { expectFailure, memory } from '../support/files.js';
import { TINY_MODELS, tinyTensors } from '../support/tiny-models.js';
import {
  exportDecoder,
  noiseCheckpoint,
  openDecoder,
  ownLogits,
  quantizeAll,
  step,
  withQuantized,
  worst,
} from './decoder.js';
import { RUNTIMES, type Runtime } from './runtimes.js';

const [node, web] = RUNTIMES as [Runtime, Runtime];
const TOKENS = [3, 0, 5, 1, 1, 4, 2, 0, 3];
const CLOSE = 2e-5;

function sourceOf(configJson: JsonObject): ModelSource {
  return modelSource({ configJson, checkpoint: noiseCheckpoint(tinyTensors(configJson)) });
}

/** The prompt at once, then in steps over the cache: both must give the logits of our own forward pass. */
async function expectAgreement(
  configJson: JsonObject,
  options: OnnxDecoderOptions = {},
  source = sourceOf(configJson),
  runtime = node,
): Promise<void> {
  const tokens = TOKENS;
  const expected = await ownLogits(source, tokens);
  const exported = await exportDecoder(configJson, source.checkpoint, options);
  const session = await openDecoder(runtime, exported);
  const whole = await step(runtime, session, source.config, [tokens]);
  expect(worst(whole.logits, expected)).toBeLessThan(CLOSE);
  let cache = (await step(runtime, session, source.config, [tokens.slice(0, 4)])).cache;
  for (let at = 4; at < tokens.length; at += 2) {
    const next = await step(runtime, session, source.config, [tokens.slice(at, at + 2)], cache);
    const { vocabSize } = source.config;
    expect(worst(next.logits, expected.slice(at * vocabSize, (at + 2) * vocabSize))).toBeLessThan(CLOSE);
    cache = next.cache;
  }
  await session.release();
}

describe('a decoder in ONNX Runtime', () => {
  it.each(Object.entries(TINY_MODELS))('agrees with our forward pass: %s', async (_, config) => {
    await expectAgreement(config);
  });

  it('agrees in the browser build of ONNX Runtime', async () => {
    for (const config of [TINY_MODELS.qwen3, TINY_MODELS.gpt2]) {
      await expectAgreement(config, { floats: 'stored' }, sourceOf(config), web);
    }
  });

  it('agrees where linear weights of GPT-2 are not transposed', async () => {
    const { tensors } = sourceOf(TINY_MODELS.gpt2).checkpoint;
    const turned = [...tensors].map(
      ([name, lazy]) => [name, /\.c_\w+\.weight$/.test(name) ? transposeLazy(lazy) : lazy] as const,
    );
    const checkpoint = { ...sourceOf(TINY_MODELS.gpt2).checkpoint, tensors: new Map(turned) };
    const source = modelSource({ configJson: TINY_MODELS.gpt2, checkpoint, conv1dTransposed: false });
    await expectAgreement(TINY_MODELS.gpt2, { conv1dTransposed: false }, source);
  });

  it('agrees where floats stay as they are stored', async () => {
    for (const dtype of ['f16', 'bf16'] as const) {
      for (const config of [TINY_MODELS.llama, TINY_MODELS.gpt2]) {
        const source = modelSource({ configJson: config, checkpoint: noiseCheckpoint(tinyTensors(config), dtype) });
        await expectAgreement(config, { floats: 'stored' }, source, dtype === 'bf16' ? web : node);
        const wide = await exportDecoder(config, source.checkpoint);
        const narrow = await exportDecoder(config, source.checkpoint, { floats: 'stored', positions: 32 });
        expect(narrow.plan.data.byteLength).toBeLessThan(wide.plan.data.byteLength);
      }
    }
  });

  it('agrees with a window shorter than the text', async () => {
    await expectAgreement({ ...TINY_MODELS.mistral, sliding_window: 3 });
  });

  it.each([
    { rope_type: 'linear', factor: 4 },
    { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 16 },
  ])('agrees with scaled rotation: $rope_type', async (rope_scaling) => {
    await expectAgreement({ ...TINY_MODELS.llama, rope_scaling });
  });

  it('agrees where the checkpoint leaves the prefix out', async () => {
    const { checkpoint } = sourceOf(TINY_MODELS.gpt2);
    const bare = [...checkpoint.tensors].map(([name, lazy]) => [name.replace('transformer.', ''), lazy] as const);
    const source = modelSource({ configJson: TINY_MODELS.gpt2, checkpoint: { ...checkpoint, tensors: new Map(bare) } });
    await expectAgreement(TINY_MODELS.gpt2, {}, source);
  });

  it('runs a batch with padding on the left as it runs each sequence', async () => {
    for (const config of [TINY_MODELS.qwen2, TINY_MODELS.gpt2]) {
      const source = sourceOf(config);
      const session = await openDecoder(node, await exportDecoder(config, source.checkpoint));
      const short = TOKENS.slice(0, 4);
      const both = await step(node, session, source.config, [TOKENS.slice(0, 6), [0, 0, ...short]], undefined, {
        mask: [
          [1, 1, 1, 1, 1, 1],
          [0, 0, 1, 1, 1, 1],
        ],
        positions: [
          [0, 1, 2, 3, 4, 5],
          [0, 0, 0, 1, 2, 3],
        ],
      });
      const { vocabSize } = source.config;
      const alone = [await ownLogits(source, TOKENS.slice(0, 6)), await ownLogits(source, short)];
      expect(worst(both.logits.slice(0, 6 * vocabSize), alone[0] as Float32Array)).toBeLessThan(CLOSE);
      expect(worst(both.logits.slice(8 * vocabSize), alone[1] as Float32Array)).toBeLessThan(CLOSE);
      expect(both.logits.every(Number.isFinite)).toBe(true);
      await session.release();
    }
  });
});

function contents({ shape, parts }: QuantizedTensor) {
  const numbers = (part: typeof parts.scales) => part && [...toFloat32(part as Tensor)];
  return { shape, codes: [...unpackCodes(parts.codes)], scales: numbers(parts.scales), zeros: numbers(parts.zeros) };
}

const QUANTIZERS = [
  { bits: 2, granularity: 16, symmetry: 'asymmetric' },
  { bits: 3, granularity: 16, symmetry: 'full-range' },
  { bits: 4, granularity: 32, symmetry: 'asymmetric' },
  { bits: 4, granularity: 'row', symmetry: 'full-range' },
  { bits: 8, granularity: 'tensor', symmetry: 'asymmetric' },
  { bits: 8, granularity: 16, symmetry: 'full-range' },
] as const;

describe('quantized weights', () => {
  it.each(QUANTIZERS)(
    'give the logits of their decoded values: $bits bits, $granularity, $symmetry',
    async (options) => {
      for (const config of [TINY_MODELS.qwen3, TINY_MODELS.gpt2]) {
        const source = sourceOf(config);
        const quantized = await quantizeAll(source, rtn(options));
        const expected = await ownLogits(source, TOKENS, quantized);
        for (const mode of ['matmul-nbits', 'qdq'] as const) {
          const weights = withQuantized(source.checkpoint, quantized);
          const exported = await exportDecoder(config, weights, { quantized: mode });
          const session = await openDecoder(node, exported);
          expect(worst((await step(node, session, source.config, [TOKENS])).logits, expected)).toBeLessThan(CLOSE);
          await session.release();
        }
      }
    },
  );

  it('may be the embedding, which is decoded, and the tied head, which is not', async () => {
    const source = sourceOf(TINY_MODELS.qwen2);
    const name = 'model.embed_tokens.weight';
    const values = (await source.checkpoint.tensors.get(name)?.read())?.bytes as Uint8Array;
    const table = { data: new Float32Array(values.slice().buffer), shape: [6, 16], stride: [16, 1], offset: 0 };
    const quantized = new Map([[name, await rtn({ granularity: 16 }).quantize(table, { name })]]);
    const exported = await exportDecoder(TINY_MODELS.qwen2, withQuantized(source.checkpoint, quantized));
    expect([...exported.plan.parts.keys()]).toContain(`${name}_quantized`);
    const session = await openDecoder(node, exported);
    const { logits } = await step(node, session, source.config, [TOKENS]);
    expect(worst(logits, await ownLogits(source, TOKENS, quantized))).toBeLessThan(CLOSE);
    await session.release();
  });

  it.each(['matmul-nbits', 'qdq'] as const)('read back as they were written: %s', async (mode) => {
    const source = sourceOf(TINY_MODELS.llama);
    for (const options of QUANTIZERS) {
      const quantized = await quantizeAll(source, rtn({ ...options, scaleDtype: 'f32' }));
      const { files } = await exportDecoder(TINY_MODELS.llama, withQuantized(source.checkpoint, quantized), {
        quantized: mode,
      });
      const codec = onnxCodec({ openFile: (name) => memory(files[name] as Uint8Array) });
      const opened = await codec.open(memory(files['model.onnx'] as Uint8Array));
      const checkpoint = await withLayouts(opened, { layouts: [onnxLayout] });
      expect([...(checkpoint.quantized?.keys() ?? [])].sort()).toEqual([...quantized.keys()].sort());
      for (const [name, q] of [...quantized].slice(0, 7)) {
        const back = (await checkpoint.quantized?.get(name)?.read()) as QuantizedTensor;
        validateQuantized(back);
        expect(dequantize(back)).toEqual(dequantize(q));
        if (options.granularity === 16 && options.bits !== 2 && options.bits !== 3) {
          expect(contents(back)).toEqual(contents(q));
          expect(back.scheme.grid).toEqual(q.scheme.grid);
        }
      }
      // What is left are the floats of the checkpoint and the rotary tables.
      const floats = [...source.checkpoint.tensors.keys()].filter((name) => !quantized.has(name));
      expect([...checkpoint.tensors.keys()].filter((name) => !/^(ints?|float)_/.test(name)).sort()).toEqual(
        [...floats, 'rotary.cosines', 'rotary.sines'].sort(),
      );
    }
  });
});

describe('planOnnxDecoder', () => {
  const { checkpoint } = sourceOf(TINY_MODELS.llama);
  const plan = (change: JsonObject, tensors = checkpoint.tensors) =>
    planOnnxDecoder({ ...TINY_MODELS.llama, ...change }, { tensors });

  it('names inputs and outputs as Optimum does', async () => {
    const { onnx } = await onnxCodec().open(memory(plan({}).graph));
    expect(onnx.graph.inputs.map(({ name }) => name)).toEqual([
      'input_ids',
      'attention_mask',
      'position_ids',
      'past_key_values.0.key',
      'past_key_values.0.value',
      'past_key_values.1.key',
      'past_key_values.1.value',
    ]);
    expect(onnx.graph.outputs.map(({ name }) => name)).toEqual([
      'logits',
      'present.0.key',
      'present.0.value',
      'present.1.key',
      'present.1.value',
    ]);
  });

  it('places large weights on pages and all of them apart', () => {
    const { data, dataFileName } = plan({});
    expect(dataFileName).toBe('model.onnx_data');
    let end = 0;
    for (const { offset, byteLength } of data.tensors) {
      expect(offset).toBeGreaterThanOrEqual(end);
      expect(offset % (byteLength >= 4096 ? 4096 : 64)).toBe(0);
      end = offset + byteLength;
    }
    expect(data.byteLength).toBe(end);
  });

  it('refuses what it cannot say exactly, with the reason', async () => {
    const refused = (change: JsonObject, ...words: string[]) =>
      expectFailure(() => plan(change), 'UNSUPPORTED', ...words);
    await refused({ rope_scaling: { rope_type: 'yarn', factor: 2 } }, 'yarn');
    await refused({ rope_scaling: { rope_type: 'dynamic', factor: 2 } }, 'dynamic');
    await refused({ partial_rotary_factor: 0.5 }, 'partial_rotary_factor');
    await refused({ model_type: 'bert' }, 'bert');
    await refused({ hidden_act: 'relu' }, 'relu');
    const gpt2 = { ...TINY_MODELS.gpt2, scale_attn_by_inverse_layer_idx: true };
    const { tensors } = sourceOf(TINY_MODELS.gpt2).checkpoint;
    await expectFailure(() => planOnnxDecoder(gpt2, { tensors }), 'UNSUPPORTED', 'scale_attn_by_inverse_layer_idx');
  });

  it('refuses weights that are missing, unknown, misshapen or of other types', async () => {
    const name = 'model.layers.1.mlp.up_proj.weight';
    const lazy = checkpoint.tensors.get(name) as LazyTensor;
    const changed = (key: string, value?: LazyTensor) => {
      const tensors = new Map(checkpoint.tensors);
      if (value === undefined) tensors.delete(key);
      else tensors.set(key, value);
      return () => plan({}, tensors);
    };
    await expectFailure(changed(name), 'FORMAT', name, 'no such tensor');
    await expectFailure(changed('lm_head.weight'), 'FORMAT', 'lm_head.weight');
    await expectFailure(changed('model.layers.2.x', lazy), 'UNSUPPORTED', 'model.layers.2.x');
    await expectFailure(changed(name, { ...lazy, shape: [24, 15] }), 'SHAPE', '[24,15]');
    await expectFailure(changed(name, { ...lazy, dtype: 'Q8_0' }), 'UNSUPPORTED', 'Q8_0');
    await expectFailure(() => plan({ max_position_embeddings: 0 }), 'FORMAT', 'max_position_embeddings');
    await expectFailure(() => planOnnxDecoder(TINY_MODELS.llama, checkpoint, { positions: 0.5 }), 'RANGE', 'positions');
  });
});

describe('writeOnnxDecoder', () => {
  it('commits neither file when a weight cannot be written', async () => {
    const source = sourceOf(TINY_MODELS.llama);
    const quantized = await quantizeAll(source, rtn({ granularity: 16 }), (name) => name.includes('layers.1.mlp.up'));
    const [[name, q]] = quantized as unknown as [[string, QuantizedTensor]];
    const halves = { ...q, parts: { ...q.parts, zeros: tensor(new Float32Array(24).fill(0.5), [24, 1]) } };
    const sinks: ReturnType<typeof memorySink>[] = [];
    const createSink = () => {
      const sink = memorySink();
      sinks.push(sink);
      return sink;
    };
    const weights = withQuantized(source.checkpoint, new Map([[name, halves]]));
    await expectFailure(() => writeOnnxDecoder(TINY_MODELS.llama, weights, { createSink }), 'UNSUPPORTED', 'zero 0.5');
    for (const sink of sinks) await expectFailure(() => sink.bytes(), 'IO');
    const signal = AbortSignal.abort();
    await expectFailure(
      () => writeOnnxDecoder(TINY_MODELS.llama, source.checkpoint, { createSink, signal }),
      'ABORTED',
    );
  });
});

/** A decoder's ONNX file beside our own forward pass over the same weights. */
import {
  type Checkpoint,
  decode,
  dequantize,
  encode,
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  type Quantizer,
  tensor,
} from '@halftone/tensor';
import { createModel, type ModelSource } from '@halftone/transformer';
import { arrayBufferSource, memorySink } from '../../src/index.js';
import { lazyTensor } from '../../src/internal/lazy-tensor.js';
import {
  type OnnxDecoderOptions,
  type OnnxDecoderPlan,
  type OnnxDecoderWeights,
  writeOnnxDecoder,
} from '../../src/onnx.js';
import { fillBytes } from '../support/files.js';
import type { Runtime, RuntimeSession, RuntimeTensor } from './runtimes.js';

export interface Exported {
  readonly plan: OnnxDecoderPlan;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export async function exportDecoder(
  config: JsonObject,
  weights: OnnxDecoderWeights,
  options: OnnxDecoderOptions = {},
): Promise<Exported> {
  const sinks = new Map<string, ReturnType<typeof memorySink>>();
  const createSink = (name: string) => {
    const sink = memorySink();
    sinks.set(name, sink);
    return sink;
  };
  const plan = await writeOnnxDecoder(config, weights, { ...options, createSink });
  return { plan, files: Object.fromEntries([...sinks].map(([name, sink]) => [name, sink.bytes()])) };
}

export function openDecoder(runtime: Runtime, { plan, files }: Exported): Promise<RuntimeSession> {
  return runtime.open(files[plan.fileName] as Uint8Array, {
    [plan.dataFileName]: files[plan.dataFileName] as Uint8Array,
  });
}

export interface CacheSizes {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

export type Cache = Readonly<Record<string, RuntimeTensor>>;

export interface Step {
  /** `[batch * new, vocabulary]` */
  readonly logits: Float32Array;
  /** The inputs `past_key_values` of the next step. */
  readonly cache: Cache;
}

/** Runs new tokens, one list for each sequence of the batch, after what the cache holds. `mask` is 1 for all by default. */
export async function step(
  runtime: Runtime,
  session: RuntimeSession,
  sizes: CacheSizes,
  tokens: readonly (readonly number[])[],
  cache?: Cache,
  given: { readonly mask?: readonly (readonly number[])[]; readonly positions?: readonly (readonly number[])[] } = {},
): Promise<Step> {
  const batch = tokens.length;
  const fresh = tokens[0]?.length ?? 0;
  const past = cache?.['past_key_values.0.key']?.dims[2] ?? 0;
  const grid = (rows: readonly (readonly number[])[]) =>
    runtime.tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [batch, rows[0]?.length ?? 0]);
  const all = (count: number, value: (i: number) => number) =>
    tokens.map(() => Array.from({ length: count }, (_, i) => value(i)));
  const empty = () => runtime.tensor('float32', new Float32Array(0), [batch, sizes.kvHeads, 0, sizes.headDim]);
  const names = Array.from({ length: sizes.layers }, (_, i) => [`${i}.key`, `${i}.value`]).flat();
  const feeds = {
    input_ids: grid(tokens),
    attention_mask: grid(given.mask ?? all(past + fresh, () => 1)),
    position_ids: grid(given.positions ?? all(fresh, (i) => past + i)),
    ...(cache ?? Object.fromEntries(names.map((name) => [`past_key_values.${name}`, empty()]))),
  };
  const outputs = await session.run(feeds);
  return {
    logits: outputs.logits?.data as Float32Array,
    cache: Object.fromEntries(
      names.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`] as RuntimeTensor]),
    ),
  };
}

/** Logits of our own forward pass, with the quantized weights decoded. */
export async function ownLogits(
  source: ModelSource,
  tokens: readonly number[],
  quantized: ReadonlyMap<string, QuantizedTensor> = new Map(),
): Promise<Float32Array> {
  const model = await createModel(source, {
    weights: (name) => {
      const q = quantized.get(name);
      return q && tensor(dequantize(q), q.shape);
    },
  });
  try {
    return (await model.forward(tokens)).data;
  } finally {
    await model.dispose();
  }
}

/** Largest difference. */
export function worst(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
}

export function lazily(name: string, q: QuantizedTensor): LazyQuantizedTensor {
  const { shape, scheme } = q;
  return {
    kind: 'lazy-quantized',
    name,
    shape,
    scheme,
    layout: 'memory',
    stored: [],
    byteLength: 0,
    read: async () => q,
  };
}

/** The checkpoint's tensors, those that were quantized taken out. */
export function withQuantized(
  checkpoint: Checkpoint,
  quantized: ReadonlyMap<string, QuantizedTensor>,
): OnnxDecoderWeights {
  const tensors = new Map([...checkpoint.tensors].filter(([name]) => !quantized.has(name)));
  return { tensors, quantized: new Map([...quantized].map(([name, q]) => [name, lazily(name, q)])) };
}

/** A checkpoint in memory of small noise, with gains around 1, for these names and shapes. */
export function noiseCheckpoint(
  shapes: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  dtype: 'f32' | 'f16' | 'bf16' = 'f32',
): Checkpoint {
  const tensors = new Map<string, LazyTensor>();
  for (const [name, { shape }] of shapes) {
    const noise = fillBytes(
      name,
      shape.reduce((product, size) => product * size, 1),
    );
    const middle = name.endsWith('norm.weight') || /ln_\w\.weight$/.test(name) ? 1 : 0;
    const values = Float32Array.from(noise, (byte) => middle + (byte - 127.5) / 300);
    const { bytes } = encode(values, dtype, shape);
    const stored = { source: arrayBufferSource(bytes), where: 'test', name, dtype, shape, offset: 0 };
    tensors.set(name, lazyTensor({ ...stored, byteLength: bytes.length }));
  }
  return { format: 'memory', metadata: new Map(), tensors, byteLength: 0, close: async () => {} };
}

/** Quantizes matrices `[out, in]` of a checkpoint; those of GPT-2's Conv1D are turned first. */
export async function quantizeAll(
  source: ModelSource,
  quantizer: Quantizer,
  wanted: (name: string) => boolean = () => true,
): Promise<Map<string, QuantizedTensor>> {
  const quantized = new Map<string, QuantizedTensor>();
  for (const { linears } of source.graph.blocks) {
    for (const { weight, outFeatures, inFeatures, storedTransposed } of linears) {
      if (!wanted(weight)) continue;
      const stored = await source.checkpoint.tensors.get(weight)?.read();
      const values = decode(stored as PackedTensor<'f32'>);
      const shape = [outFeatures, inFeatures];
      const turned = Float32Array.from(values, (_, i) =>
        storedTransposed
          ? (values[(i % inFeatures) * outFeatures + Math.floor(i / inFeatures)] as number)
          : (values[i] as number),
      );
      quantized.set(weight, await quantizer.quantize(tensor(turned, shape), { name: weight }));
    }
  }
  return quantized;
}

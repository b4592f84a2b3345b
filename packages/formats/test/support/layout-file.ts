import type { Checkpoint, JsonObject, PackedTensor, QuantizedTensor, WeightLayout } from '@halftone/tensor';
import { memorySink, safetensors, withLayouts, writeSafetensors } from '../../src/index.js';
import { memory } from './files.js';

export type StoredTensors = ReadonlyMap<string, PackedTensor> | Readonly<Record<string, PackedTensor>>;
export type Weights = ReadonlyMap<string, QuantizedTensor>;

/** A safetensors file of tensors as they are. */
export async function packedFile(
  tensors: StoredTensors,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const named: ReadonlyMap<string, PackedTensor> = tensors instanceof Map ? tensors : new Map(Object.entries(tensors));
  const entries = [...named].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const sink = memorySink();
  await writeSafetensors(sink, entries, {
    metadata: { format: 'pt', ...metadata },
    data: ({ name }) => named.get(name)?.bytes as Uint8Array,
  });
  return sink.bytes();
}

/** Tensors written to a safetensors file and opened again. */
export async function openTensors(tensors: StoredTensors): Promise<Checkpoint> {
  return safetensors.open(memory(await packedFile(tensors)));
}

/** What a file holds that has these weights as the layout writes them: tensors, its metadata, and its `config.json`. */
export function storedWeights(
  layout: WeightLayout,
  weights: Weights,
  plain: readonly string[] = [],
): { tensors: Map<string, PackedTensor>; metadata: Readonly<Record<string, string>>; config: JsonObject } {
  const writer = layout.writer;
  if (writer === undefined) throw new Error(`${layout.name} is not written`);
  const tensors = new Map<string, PackedTensor>();
  const settings = new Map<string, JsonObject>();
  for (const [name, weight] of weights) {
    const split = writer.split(name, weight);
    for (const [part, tensor] of split.tensors) tensors.set(part, tensor);
    settings.set(name, split.settings);
  }
  return { tensors, metadata: writer.metadata?.(settings) ?? {}, config: writer.config(settings, plain) };
}

/** A file with these weights as the layout writes them, and its `config.json`. */
export async function layoutFile(
  layout: WeightLayout,
  weights: Weights,
  plain: ReadonlyMap<string, PackedTensor> = new Map(),
): Promise<{ file: Uint8Array; config: JsonObject }> {
  const { tensors, metadata, config } = storedWeights(layout, weights, [...plain.keys()]);
  return { file: await packedFile(new Map([...plain, ...tensors]), metadata), config };
}

export async function openLayout(layout: WeightLayout, file: Uint8Array, config?: JsonObject): Promise<Checkpoint> {
  return withLayouts(await safetensors.open(memory(file)), { layouts: [layout], ...(config && { config }) });
}

/** Reads one weight of a file, by default the only one. */
export async function readWeight(
  layout: WeightLayout,
  file: Uint8Array,
  config?: JsonObject,
  name?: string,
): Promise<QuantizedTensor> {
  const { quantized } = await openLayout(layout, file, config);
  const weight = name === undefined ? quantized?.values().next().value : quantized?.get(name);
  if (weight === undefined)
    throw new Error(`no quantized weight ${name ?? ''}; found ${[...(quantized?.keys() ?? [])]}`);
  return weight.read();
}

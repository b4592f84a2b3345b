import type { Checkpoint, JsonObject, PackedTensor, QuantizedTensor, WeightLayout } from '@halftone/tensor';
import { memorySink, safetensors, withLayouts, writeSafetensors } from '../../src/index.js';
import { memory } from './files.js';

export type Weights = ReadonlyMap<string, QuantizedTensor>;

/** A safetensors file of tensors as they are. */
export async function packedFile(
  tensors: ReadonlyMap<string, PackedTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const sink = memorySink();
  await writeSafetensors(sink, entries, {
    metadata: { format: 'pt', ...metadata },
    data: ({ name }) => tensors.get(name)?.bytes as Uint8Array,
  });
  return sink.bytes();
}

/** A file with these weights as the layout writes them, and its `config.json`. */
export async function layoutFile(
  layout: WeightLayout,
  weights: Weights,
  plain: ReadonlyMap<string, PackedTensor> = new Map(),
): Promise<{ file: Uint8Array; config: JsonObject }> {
  const writer = layout.writer;
  if (writer === undefined) throw new Error(`${layout.name} is not written`);
  const tensors = new Map(plain);
  const settings = new Map<string, JsonObject>();
  for (const [name, weight] of weights) {
    const split = writer.split(name, weight);
    for (const [part, tensor] of split.tensors) tensors.set(part, tensor);
    settings.set(name, split.settings);
  }
  const file = await packedFile(tensors, writer.metadata?.(settings));
  return { file, config: writer.config(settings, [...plain.keys()]) };
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

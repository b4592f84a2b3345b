import {
  type Checkpoint,
  type DType,
  dequantize,
  type JsonObject,
  type PackedTensor,
  packed,
  packedByteLength,
  type QuantizedTensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { expect } from 'vitest';
import { memorySink, safetensors, writeSafetensors } from '../../src/index.js';
import { withLayouts } from '../../src/layouts.js';
import { memory } from './files.js';

export type StoredTensors = ReadonlyMap<string, PackedTensor> | Readonly<Record<string, PackedTensor>>;

/** A safetensors file with these tensors, opened. */
export async function checkpointOf(tensors: StoredTensors): Promise<Checkpoint> {
  const named: Map<string, PackedTensor> = tensors instanceof Map ? tensors : new Map(Object.entries(tensors));
  const sink = memorySink();
  const entries = [...named].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  await writeSafetensors(sink, entries, { data: ({ name }) => (named.get(name) as PackedTensor).bytes });
  return safetensors.open(memory(sink.bytes()));
}

/** A tensor from bytes in the order of the file. */
export function stored<T extends DType>(dtype: T, shape: readonly number[], bytes: ArrayLike<number>): PackedTensor<T> {
  expect(bytes.length).toBe(packedByteLength(dtype, shape));
  return packed(dtype, shape, Uint8Array.from(bytes));
}

export function storedFloats(
  values: ArrayLike<number>,
  shape: readonly number[] = [values.length],
): PackedTensor<'f32'> {
  return packed('f32', shape, new Uint8Array(Float32Array.from(values).buffer));
}

/** A weight of a checkpoint, read through its layout and validated. */
export async function readWeight(
  layout: WeightLayout,
  tensors: StoredTensors | Checkpoint,
  name: string,
  config?: JsonObject,
): Promise<QuantizedTensor> {
  const opened = 'format' in tensors ? (tensors as Checkpoint) : await checkpointOf(tensors as StoredTensors);
  expect(layout.detect(opened, config)).toBe(true);
  const joined = await withLayouts(opened, { layouts: [layout], config });
  const lazy = joined.quantized?.get(name);
  if (lazy === undefined) throw new Error(`${name} is not among ${[...(joined.quantized?.keys() ?? [])]}`);
  expect(lazy.layout).toBe(layout.name);
  expect(lazy.byteLength).toBe(
    lazy.stored.reduce((sum, part) => sum + (opened.tensors.get(part)?.byteLength ?? NaN), 0),
  );
  for (const part of lazy.stored) expect(joined.tensors.has(part)).toBe(false);
  const q = await lazy.read();
  validateQuantized(q);
  expect(q.shape).toEqual(lazy.shape);
  expect(q.scheme).toEqual(lazy.scheme);
  return q;
}

/** Writes a weight, opens the file, reads the weight: the floats must be identical, and writing again gives the same bytes. */
export async function expectRoundTrip(
  layout: WeightLayout,
  weight: QuantizedTensor,
  plain: readonly string[] = [],
): Promise<{ tensors: ReadonlyMap<string, PackedTensor>; config: JsonObject; read: QuantizedTensor }> {
  const name = 'model.layers.0.mlp.up_proj.weight';
  const writer = layout.writer;
  if (writer === undefined) throw new Error(`${layout.name} has no writer`);
  const { tensors, settings } = writer.split(name, weight);
  const config = JSON.parse(JSON.stringify(writer.config(new Map([[name, settings]]), plain))) as JsonObject;
  const read = await readWeight(layout, tensors, name, config);
  expectSameFloats(dequantize(read), dequantize(weight));
  const again = writer.split(name, read);
  expect(again.settings).toEqual(settings);
  expect([...again.tensors]).toEqual([...tensors]);
  return { tensors, config, read };
}

/** Equal bit for bit; any NaN equals any other. */
export function expectSameFloats(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (!Object.is(actual[i], expected[i])) throw new Error(`element ${i}: ${actual[i]} should be ${expected[i]}`);
  }
}

/** Deterministic whole numbers below `limit`. */
export function wholeNumbers(count: number, limit: number, seed = 1): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  });
}

/** Deterministic float32 values of many magnitudes and both signs. */
export function floats(count: number, seed = 1): Float32Array {
  const numbers = wholeNumbers(count, 2 ** 24, seed);
  const exponents = wholeNumbers(count, 20, seed + 7);
  return Float32Array.from(numbers, (n, i) => (n - 2 ** 23) * 2 ** (-40 + (exponents[i] as number)));
}

/** The bit-by-bit packer: places each code, low bit first, at its own position of the stream. */
export function bitStream(codes: readonly number[], bits: number, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (const [i, code] of codes.entries()) {
    for (let bit = 0; bit < bits; bit++) {
      if (((code >> bit) & 1) === 0) continue;
      const position = i * bits + bit;
      bytes[Math.floor(position / 8)] = (bytes[Math.floor(position / 8)] as number) + 2 ** (position % 8);
    }
  }
  return bytes;
}

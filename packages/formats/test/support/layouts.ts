import {
  type Checkpoint,
  dequantize,
  type JsonObject,
  type LazyQuantizedTensor,
  type PackedTensor,
  type QuantizedTensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { expect } from 'vitest';
import { withLayouts } from '../../src/layouts.js';
import { openTensors, type StoredTensors } from './layout-file.js';

/** The one weight of a file with these tensors. */
export async function readOne(
  layout: WeightLayout,
  tensors: StoredTensors,
  config: JsonObject,
): Promise<QuantizedTensor> {
  const { quantized } = await withLayouts(await openTensors(tensors), { layouts: [layout], config });
  expect(quantized?.size).toBe(1);
  const [lazy] = quantized?.values() ?? [];
  return readChecked(lazy as LazyQuantizedTensor);
}

/** A weight of a checkpoint, read through its layout and validated. */
export async function readWeight(
  layout: WeightLayout,
  tensors: StoredTensors | Checkpoint,
  name: string,
  config?: JsonObject,
): Promise<QuantizedTensor> {
  const opened = 'format' in tensors ? (tensors as Checkpoint) : await openTensors(tensors as StoredTensors);
  expect(layout.detect(opened, config)).toBe(true);
  const joined = await withLayouts(opened, { layouts: [layout], config });
  const lazy = joined.quantized?.get(name);
  if (lazy === undefined) throw new Error(`${name} is not among ${[...(joined.quantized?.keys() ?? [])]}`);
  expect(lazy.layout).toBe(layout.name);
  expect(lazy.byteLength).toBe(
    lazy.stored.reduce((sum, part) => sum + (opened.tensors.get(part)?.byteLength ?? NaN), 0),
  );
  for (const part of lazy.stored) expect(joined.tensors.has(part)).toBe(false);
  return readChecked(lazy);
}

/** Reads a weight, which must be valid and what it said it would be. */
export async function readChecked(lazy: LazyQuantizedTensor): Promise<QuantizedTensor> {
  const weight = await lazy.read();
  validateQuantized(weight, lazy.name);
  expect(weight.shape).toEqual(lazy.shape);
  expect(weight.scheme).toEqual(lazy.scheme);
  return weight;
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

/** Patterns of floats, so that -0 is not 0. */
export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/**
 * Codes put into int32 words one bit at a time, by the definition: bit `b` of code `i` of a line is bit
 * `(i * bits + b) mod 32` of word `floor((i * bits + b) / 32)`. With `perWord`, a word holds that many codes and no parts.
 */
export function slowPack(lines: readonly (readonly number[])[], bits: number, perWord?: number): number[][] {
  return lines.map((line) => {
    const words: number[] = [];
    line.forEach((code, i) => {
      for (let b = 0; b < bits; b++) {
        const position = perWord === undefined ? i * bits + b : Math.floor(i / perWord) * 32 + (i % perWord) * bits + b;
        const word = Math.floor(position / 32);
        while (words.length <= word) words.push(0);
        if (Math.floor(code / 2 ** b) % 2 === 1) words[word] = (words[word] as number) + 2 ** (position % 32);
      }
    });
    return words.map((word) => (word >= 2 ** 31 ? word - 2 ** 32 : word));
  });
}

export function flip<T>(matrix: readonly (readonly T[])[]): T[][] {
  return (matrix[0] ?? []).map((_, column) => matrix.map((row) => row[column] as T));
}

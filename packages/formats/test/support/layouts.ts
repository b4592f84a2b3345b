import {
  type Checkpoint,
  dequantize,
  type JsonObject,
  type LazyQuantizedTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type StorageType,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { expect } from 'vitest';
import { memorySink, safetensors, writeSafetensors } from '../../src/index.js';
import { withLayouts } from '../../src/layouts.js';
import { memory } from './files.js';

/** Tensors written to a safetensors file and opened again. */
export async function openTensors(tensors: ReadonlyMap<string, PackedTensor>): Promise<Checkpoint> {
  const sink = memorySink();
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  await writeSafetensors(sink, entries, { data: ({ name }) => (tensors.get(name) as PackedTensor).bytes });
  return safetensors.open(memory(sink.bytes()));
}

/** The one weight of a file with these tensors, through `withLayouts`. */
export async function readOne(
  layout: WeightLayout,
  tensors: ReadonlyMap<string, PackedTensor>,
  config: JsonObject,
): Promise<QuantizedTensor> {
  const checkpoint = await withLayouts(await openTensors(tensors), { layouts: [layout], config });
  expect([...(checkpoint.quantized ?? new Map()).keys()]).toHaveLength(1);
  const [lazy] = [...(checkpoint.quantized as ReadonlyMap<string, LazyQuantizedTensor>).values()];
  return readChecked(lazy as LazyQuantizedTensor);
}

/** Reads a weight, which must be valid and what it said it would be. */
export async function readChecked(lazy: LazyQuantizedTensor): Promise<QuantizedTensor> {
  const weight = await lazy.read();
  validateQuantized(weight, lazy.name);
  expect(weight.shape).toEqual(lazy.shape);
  expect(weight.scheme).toEqual(lazy.scheme);
  return weight;
}

/** Split, written, opened and read again, the weight has the same values bit for bit. Gives what was read. */
export async function expectRoundTrip(layout: WeightLayout, weight: QuantizedTensor): Promise<QuantizedTensor> {
  const name = 'model.layers.0.mlp.up_proj.weight';
  const writer = layout.writer as NonNullable<WeightLayout['writer']>;
  const { tensors, settings } = writer.split(name, weight);
  const read = await readOne(layout, tensors, writer.config(new Map([[name, settings]]), []));
  const [expected, actual] = [bitsOf(dequantize(weight)), bitsOf(dequantize(read))];
  expect(actual.length).toBe(expected.length);
  expect(actual.findIndex((pattern, i) => pattern !== expected[i])).toBe(-1);
  return read;
}

/** Patterns of floats, so that -0 is not 0. */
export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

export function int32(shape: readonly number[], values: readonly number[]): PackedTensor {
  return packed('i32', shape, new Uint8Array(Int32Array.from(values).buffer));
}

/** Any bytes as a tensor. */
export function raw(dtype: StorageType, shape: readonly number[], bytes: readonly number[] | Uint8Array): PackedTensor {
  return packed(dtype, shape, Uint8Array.from(bytes));
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

/** A repeatable stream of whole numbers. */
export function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A random affine weight. `groupSize` 0: one scale for each row; scales are multiples of 2^-10, which f16 and bf16 hold. */
export function affine(options: {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  readonly groupSize: number;
  readonly signed?: boolean;
  readonly zeros?: 'none' | 'whole' | 'above 0';
  readonly groupIndex?: boolean;
  readonly seed?: number;
}): QuantizedTensor {
  const { rows, columns, bits, groupSize, signed = false, zeros = 'whole', groupIndex = false, seed = 1 } = options;
  const random = numbers(seed);
  const groups = groupSize === 0 ? 1 : Math.ceil(columns / groupSize);
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const codes = Array.from({ length: rows * columns }, () => lowest + random(2 ** bits));
  const first = zeros === 'above 0' ? 1 : 0;
  const order = Array.from({ length: columns }, (_, j) => Math.floor(j / Math.max(1, groupSize)));
  for (let j = columns - 1; j > 0; j--) {
    const k = random(j + 1);
    [order[j], order[k]] = [order[k] as number, order[j] as number];
  }
  return {
    kind: 'quantized',
    shape: [rows, columns],
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed, symmetric: zeros === 'none' },
      granularity: groupSize === 0 ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: groupSize },
    },
    parts: {
      codes: tensor(signed ? Int8Array.from(codes) : Uint8Array.from(codes), [rows, columns]),
      scales: tensor(
        Float32Array.from({ length: rows * groups }, () => (random(200) - 99.5) / 1024),
        [rows, groups],
      ),
      ...(zeros === 'none'
        ? {}
        : {
            zeros: tensor(
              Int16Array.from({ length: rows * groups }, () => lowest + first + random(2 ** bits - first)),
              [rows, groups],
            ),
          }),
      ...(groupIndex ? { groupIndex: Uint32Array.from(order) } : {}),
    },
  };
}

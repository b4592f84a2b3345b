import {
  isHalftoneError,
  type JsonObject,
  type PackedTensor,
  type QuantizedTensor,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { describe, expect, it } from 'vitest';
import { memorySink, safetensors, writeSafetensors } from '../../src/index.js';
import { awq, compressedTensors, gptq, withLayouts } from '../../src/layouts.js';
import { memory } from '../support/files.js';
import { affine, numbers, raw } from '../support/layouts.js';

interface Written {
  readonly bytes: Uint8Array;
  readonly config: JsonObject;
}

async function write(layout: WeightLayout, weights: readonly QuantizedTensor[]): Promise<Written> {
  const writer = layout.writer as NonNullable<WeightLayout['writer']>;
  const parts = weights.map((weight, i) => [`layers.${i}.weight`, writer.split(`layers.${i}.weight`, weight)] as const);
  const tensors = new Map<string, PackedTensor>(parts.flatMap(([, split]) => [...split.tensors]));
  const sink = memorySink();
  const entries = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  await writeSafetensors(sink, entries, { data: ({ name }) => (tensors.get(name) as PackedTensor).bytes });
  const config = writer.config(new Map(parts.map(([name, { settings }]) => [name, settings])), ['lm_head.weight']);
  return { bytes: sink.bytes(), config };
}

const float4: QuantizedTensor = {
  kind: 'quantized',
  shape: [4, 32],
  scheme: {
    name: 'float',
    version: 1,
    grid: { type: 'float', exponent: 2, mantissa: 1, bias: 1 },
    granularity: { type: 'group', axis: 1, size: 16 },
  },
  parts: {
    codes: raw('f4_e2m1', [4, 32], new Uint8Array(64).fill(0x5a)),
    scales: tensor(new Float32Array(8).fill(1.5), [4, 2]),
    globalScale: 0.25,
  },
};

const base = { rows: 32, columns: 32, groupSize: 16, zeros: 'above 0' } as const;
const files: readonly [string, WeightLayout, readonly QuantizedTensor[]][] = [
  ['gptq', gptq(), [affine({ ...base, bits: 3, groupIndex: true }), affine({ ...base, bits: 3 })]],
  ['awq', awq, [affine({ ...base, bits: 4 }), affine({ ...base, bits: 4 })]],
  [
    'compressed-tensors',
    compressedTensors(),
    [affine({ ...base, bits: 3, groupIndex: true }), affine({ ...base, bits: 4, groupSize: 0, zeros: 'none' }), float4],
  ],
];

/** A random value of JSON, most often one that a setting could have. */
function anyValue(random: (below: number) => number): unknown {
  const values = [
    null,
    true,
    -1,
    0,
    1,
    3,
    4,
    8,
    16,
    2.5,
    1e300,
    -(2 ** 53),
    '',
    'gptq',
    're:.*',
    're:(',
    [],
    [0, 0],
    {},
  ];
  return values[random(values.length)];
}

/** A copy with one value somewhere in it replaced or removed. */
function changed(value: unknown, random: (below: number) => number): unknown {
  if (typeof value !== 'object' || value === null || random(6) === 0) return anyValue(random);
  const copy: Record<string, unknown> = Array.isArray(value) ? ([...value] as never) : { ...value };
  const keys = Object.keys(copy);
  const key = keys[random(keys.length)];
  if (key === undefined) return anyValue(random);
  if (random(8) === 0) delete copy[key];
  else copy[key] = changed(copy[key], random);
  return copy;
}

describe('damaged files', () => {
  it.each(files)('%s: every one is a typed error or a valid weight', async (_, layout, weights) => {
    const { bytes, config } = await write(layout, weights);
    const random = numbers(7);
    let refused = 0;
    for (let i = 0; i < 1000; i++) {
      const file = bytes.slice();
      if (i % 3 > 0) for (let k = random(3); k >= 0; k--) file[random(i % 2 ? 1200 : file.length)] = random(256);
      const settings = i % 3 < 2 ? (changed(config, random) as JsonObject) : config;
      try {
        const checkpoint = await withLayouts(await safetensors.open(memory(file)), {
          layouts: [layout],
          config: settings,
        });
        for (const lazy of checkpoint.quantized?.values() ?? []) validateQuantized(await lazy.read(), lazy.name);
      } catch (error) {
        if (!isHalftoneError(error)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });
});

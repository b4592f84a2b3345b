import {
  DTYPES,
  type DType,
  dequantize,
  elementCount,
  encode,
  isHalftoneError,
  type JsonObject,
  type PackedTensor,
  packed,
  packedByteLength,
  type QuantizedTensor,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { FP4_VALUES, NF4_VALUES } from '@halftone/tensor/codebooks';
import { validateQuantized } from '@halftone/tensor/validate';
import { describe, expect, it } from 'vitest';
import { bitsandbytes, fp8, hqq, mlx, mxfp4, withLayouts } from '../../src/layouts.js';
import { checkpointOf, floats, stored, wholeNumbers } from '../support/layout-checkpoint.js';

/** Mutations of each example; a longer run is asked for by the environment. */
const MUTATIONS = Number(process.env.HALFTONE_FUZZ_MUTATIONS ?? 250);
const NAME = 'block.weight';

interface Example {
  readonly layout: WeightLayout;
  readonly tensors: Map<string, PackedTensor>;
  readonly config: JsonObject;
}

function written(layout: WeightLayout, weight: QuantizedTensor): Example {
  const { tensors, settings } = layout.writer!.split(NAME, weight);
  const config = layout.writer!.config(new Map([[NAME, settings]]), []);
  return { layout, tensors: new Map(tensors), config: JSON.parse(JSON.stringify(config)) as JsonObject };
}

function affine(bits: number, shape: [number, number], size: number): QuantizedTensor {
  const groups = [shape[0], shape[1] / size];
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed: false, symmetric: false },
      granularity: { type: 'group', axis: 1, size },
    },
    parts: {
      codes: tensor(Uint8Array.from(wholeNumbers(elementCount(shape), 2 ** bits)), shape),
      scales: encode(floats(elementCount(groups)), 'f32', groups),
      zeros: tensor(new Uint8Array(elementCount(groups)), groups),
    },
  };
}

function lookup(values: readonly number[], shape: number[], nested: boolean): QuantizedTensor {
  const grid = (bits: number) => ({ type: 'lookup', bits, vectorLength: 1, stages: 1 }) as const;
  const group = (size: number) => ({ type: 'group', axis: 1, size }) as const;
  const groups = [shape[0] as number, (shape[1] as number) / 64];
  const count = elementCount(groups);
  const scales: QuantizedTensor = {
    kind: 'quantized',
    shape: groups,
    scheme: { name: 'lookup', version: 1, grid: grid(8), granularity: group(groups[1] as number) },
    parts: {
      codes: tensor(Uint8Array.from(wholeNumbers(count, 256)), groups),
      codebook: tensor(floats(256), [256, 1]),
      scales: tensor(new Float32Array(groups[0] as number).fill(2), [groups[0] as number, 1]),
    },
  };
  return {
    kind: 'quantized',
    shape,
    scheme: { name: 'four', version: 1, grid: grid(4), granularity: group(64) },
    parts: {
      codes: tensor(Uint8Array.from(wholeNumbers(elementCount(shape), 16)), shape),
      codebook: tensor(Float32Array.from(values), [16, 1]),
      scales: nested ? scales : tensor(floats(count), groups),
    },
  };
}

const float = (exponent: number, mantissa: number, bias: number, size?: number): QuantizedTensor => ({
  kind: 'quantized',
  shape: [4, 64],
  scheme: {
    name: 'float',
    version: 1,
    grid: { type: 'float', exponent, mantissa, bias },
    granularity: size === undefined ? { type: 'block', rows: 3, columns: 40 } : { type: 'group', axis: 1, size },
  },
  parts: { codes: tensor(Uint8Array.from(wholeNumbers(256, 2 ** (1 + exponent + mantissa))), [4, 64]) },
});

const int8: QuantizedTensor = {
  kind: 'quantized',
  shape: [3, 5],
  scheme: {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits: 8, signed: true, symmetric: true },
    granularity: { type: 'axis', axis: 0 },
  },
  parts: { codes: tensor(new Int8Array(15), [3, 5]), scales: tensor(floats(3)), globalScale: 1 / 127 },
};

const EXAMPLES: Record<string, Example> = {
  'bitsandbytes nf4': written(bitsandbytes, lookup(NF4_VALUES, [3, 128], false)),
  'bitsandbytes fp4, nested': written(bitsandbytes, lookup(FP4_VALUES, [8, 128], true)),
  'bitsandbytes int8': written(bitsandbytes, int8),
  'hqq, 4 bits': written(hqq, affine(4, [4, 64], 64)),
  'hqq, 3 bits': written(hqq, affine(3, [11, 16], 16)),
  'mlx, 3 bits': written(mlx, affine(3, [3, 64], 32)),
  'mlx mxfp4': written(mlx, float(2, 1, 1, 32)),
  'fp8 blocks': written(fp8, float(4, 3, 7)),
  mxfp4: {
    layout: mxfp4,
    tensors: new Map([
      ['experts_blocks', stored('u8', [2, 3, 2, 16], wholeNumbers(192, 256))],
      ['experts_scales', stored('u8', [2, 3, 2], wholeNumbers(12, 256))],
    ]),
    config: { quantization_config: { quant_method: 'mxfp4' } },
  },
};

const HOSTILE: readonly unknown[] = [0, -1, 1e9, 0.5, 2 ** 53, Number.NaN, null, '', '__proto__', [], {}, [1, 2], true];

/** One mutation: a tensor dropped, renamed, of another type, shape or content; or a setting of another value. */
function mutated({ tensors, config }: Example, next: (limit: number) => number): Pick<Example, 'tensors' | 'config'> {
  const changed = new Map(tensors);
  const [name, part] = [...changed][next(changed.size)] as [string, PackedTensor<DType>];
  const kind = next(7);
  if (kind === 0) changed.delete(name);
  else if (kind === 1) {
    changed.delete(name);
    changed.set(`${name}x`, part);
  } else if (kind === 2) {
    const dtypes = (Object.keys(DTYPES) as DType[]).filter((dtype) => DTYPES[dtype].bits >= 8);
    const dtype = dtypes[next(dtypes.length)] as DType;
    const [bytes] = [packedByteLength(dtype, part.shape)];
    changed.set(name, packed(dtype, part.shape, new Uint8Array(bytes).fill(next(256))));
  } else if (kind === 3) {
    const shape = part.shape.map((n) => (next(2) === 0 ? n : next(2 * n + 2)));
    changed.set(name, packed(part.dtype, shape, new Uint8Array(packedByteLength(part.dtype, shape)).fill(next(256))));
  } else if (kind < 6) {
    const bytes = part.bytes.slice();
    for (let i = next(4); i >= 0; i--) bytes[next(Math.max(1, bytes.length))] = next(256);
    changed.set(name, packed(part.dtype, part.shape, bytes.subarray(0, part.bytes.length)));
  } else {
    const json = JSON.parse(JSON.stringify(config)) as Record<string, Record<string, unknown>>;
    for (const settings of Object.values(json)) {
      const keys = Object.keys(settings);
      settings[keys[next(keys.length)] as string] = HOSTILE[next(HOSTILE.length)];
    }
    return { tensors: changed, config: json };
  }
  return { tensors: changed, config };
}

describe('damaged weights', () => {
  it.each(Object.entries(EXAMPLES))('%s: a typed error, or a weight that is whole', async (_, example) => {
    let state = 99;
    const next = (limit: number): number => {
      state = (state * 48271) % 0x7fffffff;
      return Math.floor((state / 0x7fffffff) * limit);
    };
    let read = 0;
    for (let i = 0; i < MUTATIONS; i++) {
      const { tensors, config } = i === 0 ? example : mutated(example, next);
      try {
        const opened = await checkpointOf(tensors);
        const joined = await withLayouts(opened, { layouts: [example.layout], config });
        for (const weight of joined.quantized?.values() ?? []) {
          const q = await weight.read();
          validateQuantized(q);
          dequantize(q);
          read++;
        }
      } catch (error) {
        if (!isHalftoneError(error)) throw new Error(`mutation ${i}: ${String(error)}`, { cause: error });
      }
    }
    expect(read).toBeGreaterThan(0);
  });
});

import {
  encode,
  type JsonObject,
  type PackedTensor,
  type QuantizedTensor,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { FP4_VALUES, NF4_VALUES } from '@halftone/tensor/codebooks';
import fc from 'fast-check';
import { awq, bitsandbytes, compressedTensors, fp8, gptq, halftone, hqq, mlx, mxfp4 } from '../src/layouts.js';
import { packedFile, storedWeights } from '../test/support/layout-file.js';
import { randomWeight } from '../test/support/random-weight.js';
import { affine, floats, wholeNumbers } from '../test/support/sample-weights.js';
import type { FuzzTarget } from './fuzz.js';

/** Small files of quantized weights, with their `config.json` as `config` in the metadata. */

function files(sets: readonly Readonly<Record<string, PackedTensor>>[], config?: JsonObject): FuzzTarget['seeds'] {
  const metadata = config && { config: JSON.stringify(config) };
  return () => Promise.all(sets.map((tensors) => packedFile(new Map(Object.entries(tensors)), metadata)));
}

/** A file of each set of weights, as the layout writes them. */
function written(layout: WeightLayout, ...sets: readonly (readonly QuantizedTensor[])[]): FuzzTarget['seeds'] {
  return () =>
    Promise.all(
      sets.map((weights) => {
        const named = new Map(weights.map((weight, i) => [`${'ab'[i]}.weight`, weight]));
        const { tensors, metadata, config } = storedWeights(layout, named);
        return packedFile(tensors, { ...metadata, config: JSON.stringify(config) });
      }),
    );
}

function together(...seeds: readonly FuzzTarget['seeds'][]): FuzzTarget['seeds'] {
  return async () => (await Promise.all(seeds.map((make) => make()))).flat();
}

const counting = (dtype: 'f16' | 'i8' | 'i16' | 'i32', ...shape: number[]): PackedTensor => {
  const count = shape.reduce((product, n) => product * n, 1);
  return encode(
    Array.from({ length: count }, (_, i) => i % 3),
    dtype,
    shape,
  );
};

export const aqlmSeeds = files([
  {
    'a.codes': counting('i8', 3, 4, 2),
    'a.codebooks': counting('f16', 2, 16, 1, 4),
    'a.scales': counting('f16', 3, 1, 1, 1),
  },
  {
    'b.codes': counting('i16', 2, 3, 1),
    'b.codebooks': counting('f16', 1, 8, 2, 2),
    'b.scales': counting('f16', 2, 1, 1, 1),
  },
]);

export const squeezellmSeeds = files([
  {
    'a.qweight': counting('i32', 4, 3),
    'a.lookup_table': counting('f16', 3, 16),
    'a.rows': encode([0, 1, 1, 3], 'i32'),
    'a.cols': counting('i32', 3),
    'a.vals': counting('f16', 3),
  },
  {
    'b.qweight': counting('i32', 3, 2),
    'b.lookup_table': counting('f16', 2, 8),
    'b.full_rows': counting('f16', 32, 1),
    'b.full_row_indices': counting('i32', 1),
  },
]);

const VPTQ_LAYER = {
  in_features: 9,
  out_features: 5,
  vector_lens: [2, 2],
  num_centroids: [4, 4],
  num_res_centroids: [-1, 4],
  group_num: 1,
  group_size: 8,
  outlier_size: 1,
};

export const vptqSeeds = files(
  [
    {
      'a.indices': counting('i32', 1, 3, 1),
      'a.centroids.weight': counting('f16', 1, 8),
      'a.res_centroids.weight': counting('f16', 1, 8),
      'a.outlier_indices': counting('i16', 1, 3, 1),
      'a.outlier_centroids.weight': counting('f16', 1, 8),
      'a.perm': encode([8, 7, 6, 5, 4, 3, 2, 1, 0], 'i16'),
      'a.weight_scale': counting('f16', 9),
      'a.weight_bias': counting('f16', 9),
    },
    {
      'a.indices': counting('i16', 1, 3, 8),
      'a.res_indices': counting('i16', 1, 3, 8),
      'a.centroids.weight': counting('f16', 1, 8),
      'a.res_centroids.weight': counting('f16', 1, 8),
      'a.outlier_indices': counting('i16', 1, 3, 1),
      'a.outlier_centroids.weight': counting('f16', 1, 8),
    },
  ],
  { quantization_config: { config_for_layers: { a: VPTQ_LAYER } } },
);

export const halftoneSeeds: FuzzTarget['seeds'] = () => {
  const weights = fc.sample(fc.gen(), { numRuns: 8, seed: 5 }).map((g) => randomWeight(g));
  return written(halftone, ...weights.map((weight) => [weight]))();
};

const eightRows = { rows: 8, columns: 16, bits: 4, groupSize: 8 } as const;
const words = { ...eightRows, rows: 32, columns: 32, bits: 3, groupSize: 16 } as const;

export const gptqSeeds = together(
  written(gptq(), [
    affine({ ...eightRows, zeros: 'above 0' }),
    affine({ ...eightRows, zeros: 'above 0', groupIndex: true }),
  ]),
  written(gptq({ version: 'v2' }), [affine(words)], [affine({ ...eightRows, bits: 8, groupSize: 0, zeros: 'none' })]),
);

export const awqSeeds = written(awq, [affine(eightRows), affine(eightRows)], [affine({ ...eightRows, groupSize: 0 })]);

export const packedIntegerSeeds = together(
  written(compressedTensors(), [
    affine({ ...words, groupIndex: true }),
    affine({ ...eightRows, groupSize: 0, zeros: 'none' }),
  ]),
  written(compressedTensors({ integers: 'int-quantized' }), [
    affine({ ...eightRows, bits: 8, groupSize: 0, zeros: 'none', signed: true }),
  ]),
);

type Granularity = QuantizedTensor['scheme']['granularity'];

/** Floats without scales, or with `scales` that are all 1.5 before 0.25 for the tensor. */
function miniFloats(
  [exponent, mantissa, bias]: readonly [number, number, number],
  shape: readonly number[],
  granularity: Granularity,
  scales?: readonly number[],
): QuantizedTensor {
  const count = shape.reduce((product, n) => product * n, 1);
  const codes = Uint8Array.from(wholeNumbers(count, 2 ** (1 + exponent + mantissa)));
  return {
    kind: 'quantized',
    shape,
    scheme: { name: 'float', version: 1, grid: { type: 'float', exponent, mantissa, bias }, granularity },
    parts: {
      codes: tensor(codes, shape),
      ...(scales && {
        scales: tensor(new Float32Array(scales.reduce((product, n) => product * n, 1)).fill(1.5), scales),
        globalScale: 0.25,
      }),
    },
  };
}

const E4M3 = [4, 3, 7] as const;
const E2M1 = [2, 1, 1] as const;
const group = (size: number, axis = 1): Granularity => ({ type: 'group', axis, size });
const blocks: Granularity = { type: 'block', rows: 3, columns: 10 };

export const packedFloatSeeds = written(
  compressedTensors(),
  [miniFloats(E4M3, [4, 16], blocks), miniFloats(E2M1, [4, 32], group(16), [4, 2])],
  [miniFloats(E4M3, [4, 16], { type: 'axis', axis: 0 }), miniFloats(E4M3, [3, 5], { type: 'tensor' })],
  [miniFloats(E2M1, [2, 64], group(32))],
);

export const fp8Seeds = written(
  fp8,
  [miniFloats(E4M3, [4, 16], blocks)],
  [miniFloats(E4M3, [3, 5], { type: 'axis', axis: 0 })],
  [miniFloats(E4M3, [3, 5], { type: 'tensor' })],
);

export const mxfp4Seeds = written(mxfp4, [miniFloats(E2M1, [2, 3, 64], group(32, 2))]);

export const hqqSeeds = written(
  hqq,
  [affine({ ...eightRows, groupSize: 16 })],
  [affine({ rows: 11, columns: 8, bits: 3, groupSize: 8 })],
  [affine({ ...eightRows, bits: 1, groupSize: 16 })],
);

export const mlxSeeds = written(
  mlx,
  [affine({ rows: 3, columns: 64, bits: 3, groupSize: 32 }), affine({ rows: 2, columns: 64, bits: 8, groupSize: 64 })],
  [miniFloats(E2M1, [3, 64], group(32))],
);

/** Codes of `bits` into a table, with scales for groups, which may be such codes themselves. */
function lookup(
  values: ArrayLike<number>,
  shape: readonly [number, number],
  size: number,
  scales?: QuantizedTensor,
): QuantizedTensor {
  const [rows, columns] = shape;
  const bits = Math.log2(values.length);
  const groups = [rows, columns / size];
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'lookup',
      version: 1,
      grid: { type: 'lookup', bits, vectorLength: 1, stages: 1 },
      granularity: group(size),
    },
    parts: {
      codes: tensor(Uint8Array.from(wholeNumbers(rows * columns, values.length)), shape),
      codebook: tensor(Float32Array.from(values), [values.length, 1]),
      scales: scales ?? tensor(floats(rows * (columns / size)), groups),
    },
  };
}

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

export const bitsandbytesSeeds = written(
  bitsandbytes,
  [lookup(NF4_VALUES, [3, 128], 64)],
  [lookup(FP4_VALUES, [2, 128], 64, lookup(floats(256), [2, 2], 2))],
  [int8],
);

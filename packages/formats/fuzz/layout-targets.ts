import { dequantize, encode, type JsonObject, type PackedTensor, type WeightLayout } from '@halftone/tensor';
import fc from 'fast-check';
import { arrayBufferSource, safetensors } from '../src/index.js';
import { aqlm, halftone, squeezellm, vptq, withLayouts } from '../src/layouts.js';
import { layoutFile, packedFile } from '../test/support/layout-file.js';
import { randomWeight } from '../test/support/random-weight.js';
import type { FuzzTarget } from './fuzz.js';
import { mutateJson } from './mutate-json.js';
import { mutateSafetensors } from './mutate-safetensors.js';
import type { Random } from './random.js';

type Tensors = Record<string, PackedTensor>;

const counting = (dtype: 'f16' | 'i8' | 'i16' | 'i32', ...shape: number[]): PackedTensor => {
  const count = shape.reduce((product, n) => product * n, 1);
  return encode(
    Array.from({ length: count }, (_, i) => i % 3),
    dtype,
    shape,
  );
};

const aqlmSeeds = (): Tensors[] => [
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
];

const squeezellmSeeds = (): Tensors[] => [
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
];

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

const vptqSeeds = (): Tensors[] => [
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
];

interface LayoutTargetOptions {
  readonly config?: JsonObject;
  readonly mutate?: FuzzTarget['mutate'];
}

function layoutTarget(layout: WeightLayout, seeds: FuzzTarget['seeds'], options: LayoutTargetOptions = {}): FuzzTarget {
  const { config, mutate = mutateSafetensors } = options;
  return {
    name: layout.name,
    seeds,
    mutate,
    // A bit becomes a float; decoding floats of 16 bits takes a table of 256 kB, and so may nested scales.
    allocation: (inputBytes) => 100 * inputBytes + 2 * 1024 * 1024,
    async read(bytes) {
      const checkpoint = await safetensors.open(arrayBufferSource(bytes, 'fuzzed'));
      const { quantized } = await withLayouts(checkpoint, { layouts: [layout], ...(config && { config }) });
      for (const weight of quantized?.values() ?? []) dequantize(await weight.read());
    },
  };
}

function files(sets: () => Tensors[]): FuzzTarget['seeds'] {
  return () => Promise.all(sets().map((tensors) => packedFile(new Map(Object.entries(tensors)))));
}

async function halftoneSeeds(): Promise<Uint8Array[]> {
  const weights = fc.sample(fc.gen(), { numRuns: 12, seed: 5 }).map((g) => randomWeight(g));
  return Promise.all(weights.map(async (weight) => (await layoutFile(halftone, new Map([['w', weight]]))).file));
}

/** Edits the description inside the header, which is JSON in a string. */
function mutateHalftone(seed: Uint8Array, random: Random): Uint8Array {
  const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength);
  const end = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(seed.subarray(8, end)));
  if (random.next() < 0.3) return mutateSafetensors(seed, random);
  header.__metadata__.halftone = mutateJson(header.__metadata__.halftone, random);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + seed.length - end);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(seed.subarray(end), 8 + text.length);
  return file;
}

/** Layouts of quantized weights: each weight is read and decoded. */
export const LAYOUT_TARGETS: readonly FuzzTarget[] = [
  layoutTarget(halftone, halftoneSeeds, { mutate: mutateHalftone }),
  layoutTarget(aqlm, files(aqlmSeeds)),
  layoutTarget(squeezellm(), files(squeezellmSeeds)),
  layoutTarget(vptq, files(vptqSeeds), { config: { quantization_config: { config_for_layers: { a: VPTQ_LAYER } } } }),
];

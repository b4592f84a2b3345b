import { type Checkpoint, dequantize, type JsonObject, type WeightLayout } from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { arrayBufferSource, safetensors } from '../src/index.js';
import {
  aqlm,
  awq,
  bitsandbytes,
  compressedTensors,
  fp8,
  gptq,
  halftone,
  hqq,
  mlx,
  mxfp4,
  squeezellm,
  vptq,
  withLayouts,
} from '../src/layouts.js';
import { onnx, onnxCodec, onnxLayout } from '../src/onnx.js';
import type { FuzzTarget } from './fuzz.js';
import {
  aqlmSeeds,
  awqSeeds,
  bitsandbytesSeeds,
  fp8Seeds,
  gptqSeeds,
  halftoneSeeds,
  hqqSeeds,
  mlxSeeds,
  mxfp4Seeds,
  packedFloatSeeds,
  packedIntegerSeeds,
  squeezellmSeeds,
  vptqSeeds,
} from './layout-seeds.js';
import { mutateLayoutFile } from './mutate-safetensors.js';
import { onnxLayoutSeeds, onnxSeeds } from './onnx-seeds.js';

/** The weights of a file are read and decoded; its metadata has the `config.json` that it comes with. */
function layoutTarget(layout: WeightLayout, seeds: FuzzTarget['seeds'], name = layout.name): FuzzTarget {
  return {
    name,
    seeds,
    mutate: mutateLayoutFile,
    // A bit becomes a float; decoding floats of 16 bits takes a table of 256 kB, and so may nested scales.
    allocation: (inputBytes) => 100 * inputBytes + 2 * 1024 * 1024,
    async read(bytes) {
      const checkpoint = await safetensors.open(arrayBufferSource(bytes, 'fuzzed'));
      await readWeights(checkpoint, layout, configOf(checkpoint));
    },
  };
}

async function readWeights(checkpoint: Checkpoint, layout: WeightLayout, config?: JsonObject): Promise<void> {
  const { quantized } = await withLayouts(checkpoint, { layouts: [layout], ...(config && { config }) });
  for (const lazy of quantized?.values() ?? []) {
    const weight = await lazy.read();
    try {
      validateQuantized(weight, lazy.name);
    } catch (error) {
      throw new Error(`read a weight that is not valid: ${String(error)}`, { cause: error });
    }
    dequantize(weight);
  }
}

/** Callers parse `config.json` themselves: what is no JSON object never reaches a layout. */
function configOf({ metadata }: Checkpoint): JsonObject | undefined {
  try {
    const config: unknown = JSON.parse(String(metadata.get('config')));
    return typeof config === 'object' && config !== null && !Array.isArray(config) ? (config as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** Layouts of quantized weights: each weight is read and decoded. */
export const LAYOUT_TARGETS: readonly FuzzTarget[] = [
  layoutTarget(halftone, halftoneSeeds),
  layoutTarget(aqlm, aqlmSeeds),
  layoutTarget(squeezellm(), squeezellmSeeds),
  layoutTarget(vptq, vptqSeeds),
  layoutTarget(gptq(), gptqSeeds),
  layoutTarget(awq, awqSeeds),
  layoutTarget(compressedTensors(), packedIntegerSeeds, 'compressed-tensors integers'),
  layoutTarget(compressedTensors(), packedFloatSeeds, 'compressed-tensors floats'),
  layoutTarget(bitsandbytes, bitsandbytesSeeds),
  layoutTarget(fp8, fp8Seeds),
  layoutTarget(mxfp4, mxfp4Seeds),
  layoutTarget(hqq, hqqSeeds),
  layoutTarget(mlx, mlxSeeds),
  {
    name: 'onnx',
    seeds: onnxSeeds,
    async read(bytes) {
      const source = arrayBufferSource(bytes, 'fuzzed');
      // The input is its own file of external data.
      const checkpoint = await onnxCodec({ openFile: () => source }).open(source);
      for (const tensor of checkpoint.tensors.values()) await tensor.read();
    },
  },
  {
    name: 'onnx-layout',
    seeds: onnxLayoutSeeds,
    // As for the other layouts.
    allocation: (inputBytes) => 100 * inputBytes + 2 * 1024 * 1024,
    read: async (bytes) => readWeights(await onnx.open(arrayBufferSource(bytes, 'fuzzed')), onnxLayout),
  },
];

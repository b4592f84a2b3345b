import {
  type Checkpoint,
  type JsonObject,
  type LazyQuantizedTensor,
  type ReadOptions,
  throwIfAborted,
  type WeightLayout,
} from '@halftone/tensor';
import { readConfig } from './internal/compressed-tensors-config.js';
import { float4Weight, float8Weight } from './internal/compressed-tensors-floats.js';
import { int8Weight, packedIntegers } from './internal/compressed-tensors-integers.js';
import { type CompressedLayer, fail, WHERE } from './internal/compressed-tensors-parts.js';
import { splitWeight, writeConfig } from './internal/compressed-tensors-write.js';
import type { WordPacking } from './internal/packed-words.js';
import { quantizationConfig, quantMethod } from './internal/settings.js';

export interface CompressedTensorsOptions {
  /**
   * How integers are written. `pack-quantized`: 1 to 8 bits in int32 words, read as weights alone (W4A16). `int-quantized`:
   * symmetric int8 with one scale for each row, which runtimes multiply by inputs quantized to int8 for each token (W8A8).
   * Default `pack-quantized`.
   */
  readonly integers?: 'pack-quantized' | 'int-quantized';
  /**
   * Words of 3-, 5-, 6- and 7-bit codes. `dense`: one stream of bits, as compressed-tensors writes and reads since the middle of
   * 2026; `padded`: `floor(32 / bits)` codes in each word, as before. Both are read, told apart by the width of the rows;
   * this option decides only for short rows (3 bits: below 160 columns) that could be either. Default `dense`.
   */
  readonly packing?: WordPacking;
}

export const COMPRESSED_TENSORS_DEFAULTS: Required<CompressedTensorsOptions> = {
  integers: 'pack-quantized',
  packing: 'dense',
};

/** Small tensors (`weight_shape`) that are read at a time. */
const READS_AT_ONCE = 16;

/**
 * Checkpoints of compressed-tensors (llm-compressor, vLLM). A layer `X` is one of
 *
 * - pack-quantized: `X.weight_packed` int32 `[out, words]` along the input, low-first, of `code + 2^(bits-1)`; `X.weight_scale`
 *   `[out, groups]`; `X.weight_shape` int64 `[out, in]`; `X.weight_zero_point` int32 `[words, groups]`, packed along the output,
 *   where not symmetric; `X.weight_g_idx` int32 `[in]` with `actorder: group`;
 * - int-quantized: `X.weight` int8, `X.weight_scale`, and `X.weight_zero_point` int8 where not symmetric;
 * - float-quantized: `X.weight` F8_E4M3, `X.weight_scale` for the tensor, rows, groups or blocks; with E8M0 bytes, mxfp8;
 * - nvfp4-pack-quantized: `X.weight_packed` u8 `[out, in / 2]` of E2M1 codes, the even column in the low nibble;
 *   `X.weight_scale` F8_E4M3 `[out, in / 16]`; `X.weight_global_scale` f32 `[1]`, by which scales are divided;
 * - mxfp4-pack-quantized: the same with E8M0 bytes `[out, in / 32]` and no global scale.
 *
 * What a layer is shows in the types of its tensors, so files of several formats are read too. Settings come from the group
 * of `config_groups` that names the module, matches it (`re:`), or is for its class.
 *
 * NVFP4 decodes to the correctly rounded float32 steps of compressed-tensors' own decompression, `code * (scale / global)`:
 * `globalScale` is the float64 reciprocal of the stored number, and from it the number is found again when written.
 *
 * Scales of activations (`input_scale`, `input_global_scale`, `k_scale`) stay plain tensors, as do biases.
 *
 * Written files hold weights alone, except int-quantized. marlin-24 and sparse formats, transforms and weights that are still
 * floats beside their scales are refused.
 */
export function compressedTensors(options: CompressedTensorsOptions = {}): WeightLayout {
  const chosen = { ...COMPRESSED_TENSORS_DEFAULTS, ...options };
  return {
    name: 'compressed-tensors',
    detect(checkpoint, config) {
      if (quantMethod(quantizationConfig(config)) !== 'compressed-tensors') return false;
      return [...checkpoint.tensors.keys()].some((name) =>
        /\.(?:weight_packed|weight_scale|compressed|bitmask)$/.test(name),
      );
    },
    weights: (checkpoint, config, readOptions) => readWeights(checkpoint, config, chosen.packing, readOptions),
    writer: {
      split: (name, weight) => splitWeight(name, weight, chosen),
      config: writeConfig,
    },
  };
}

async function readWeights(
  checkpoint: Checkpoint,
  config: JsonObject | undefined,
  packing: WordPacking,
  options?: ReadOptions,
): Promise<Map<string, LazyQuantizedTensor>> {
  const modules = new Set<string>();
  for (const name of checkpoint.tensors.keys()) {
    const [, module] = /^(.+)\.(?:weight_packed|weight_scale)$/s.exec(name) ?? [];
    if (module !== undefined) modules.add(module);
  }
  const settingsOf = readConfig(config, modules);
  const layers = [...modules].map((module) => ({ checkpoint, module, settings: settingsOf(module), packing }));
  const weights = new Map<string, LazyQuantizedTensor>();
  for (let first = 0; first < layers.length; first += READS_AT_ONCE) {
    throwIfAborted(options?.signal, WHERE);
    const batch = layers.slice(first, first + READS_AT_ONCE);
    for (const weight of await Promise.all(batch.map((layer) => readLayer(layer, options))))
      weights.set(weight.name, weight);
  }
  return weights;
}

async function readLayer(layer: CompressedLayer, options?: ReadOptions): Promise<LazyQuantizedTensor> {
  const { checkpoint, module, settings } = layer;
  const stored = checkpoint.tensors.get(`${module}.weight_packed`) ?? checkpoint.tensors.get(`${module}.weight`);
  const details = { module, dtype: stored?.dtype, settings };
  const expect = (type: 'int' | 'float', bits: number): void => {
    if (settings.type === type && settings.bits === bits) return;
    const configured = `${settings.bits}-bit ${settings.type}`;
    fail('FORMAT', `${stored?.name}: ${stored?.dtype} cannot be the ${configured} of the configuration`, details);
  };
  switch (stored?.dtype) {
    case 'i32':
      expect('int', settings.bits);
      return packedIntegers(layer, options);
    case 'i8':
      expect('int', settings.bits);
      return int8Weight(layer);
    case 'f8_e4m3':
      expect('float', 8);
      return float8Weight(layer);
    case 'u8':
      expect('float', 4);
      return float4Weight(layer);
    case undefined:
      return fail('FORMAT', `${module}: there is a weight_scale, but neither weight nor weight_packed`, details);
    default:
      return fail(
        'UNSUPPORTED',
        `${stored?.name}: ${stored?.dtype} beside a scale; only compressed weights are read`,
        details,
      );
  }
}

import {
  type Checkpoint,
  type DType,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type WeightLayout,
} from '@halftone/tensor';
import { isMlxMode, MLX_MODES, type MlxSettings, mlxSettings, settingsOf } from './internal/mlx-settings.js';
import { splitMlx } from './internal/mlx-writer.js';
import {
  checkPart,
  mapBatched,
  moduleOf,
  namesWithout,
  readPart,
  refuse,
  storedPart,
  storedWeight,
} from './internal/stored-weight.js';

const WHERE = 'mlx';
const FLOATS: readonly DType[] = ['f16', 'bf16', 'f32'];

/**
 * The weights of MLX: `weight` u32 `[out, in * bits / 32]`, a low-first stream of codes for each row, with one scale and one bias
 * for each group of a row. Linear layers and embeddings alike; experts have a leading axis.
 *
 * - affine: 2, 3, 4, 5, 6 or 8 bits, groups of 32, 64 or 128, `w = scale * code + bias`;
 * - mxfp4, mxfp8: E2M1 or E4M3 elements, groups of 32, scales that are powers of two (E8M0);
 * - nvfp4: E2M1 elements, groups of 16, scales in E4M3.
 *
 * The file does not say how many bits a weight has: `config.json` does (`quantization`), so nothing is detected without it.
 * MLX computes in the type of the scales; the values here are those of float32 arithmetic.
 *
 * Writing: integer zeros become biases `-zero * scale`, and coarser groups repeat their parameters, where every value stays the
 * same (but for the sign of zeros). Source: mlx, `backend/cpu/quantized.cpp`, `python/mlx/nn/layers/quantized.py`; mlx-lm,
 * `utils.py`.
 */
export const mlx: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    if (mlxSettings(config) === undefined) return false;
    return namesWithout(checkpoint, '.scales').some(
      (module) => checkpoint.tensors.get(`${module}.weight`)?.dtype === 'u32',
    );
  },
  weights(checkpoint, config) {
    const found = namesWithout(checkpoint, '.scales').map((module) => mlxWeight(checkpoint, module, config));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: {
    split: splitMlx,
    config(weights) {
      const counts = new Map<string, number>();
      for (const settings of weights.values()) {
        const key = JSON.stringify(settings);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      const [most] = [...counts].sort(([, a], [, b]) => b - a);
      if (most === undefined) {
        throw new HalftoneError('UNSUPPORTED', 'there are no quantized weights to describe', { where: WHERE });
      }
      const layers = [...weights].filter(([, settings]) => JSON.stringify(settings) !== most[0]);
      const quantization: JsonObject = {
        ...(JSON.parse(most[0]) as JsonObject),
        ...Object.fromEntries(layers.map(([name, settings]) => [moduleOf(name), settings])),
      };
      return { quantization, quantization_config: quantization };
    },
  },
};

function mlxWeight(checkpoint: Checkpoint, module: string, config: JsonObject | undefined): LazyQuantizedTensor {
  const name = `${module}.weight`;
  const settings = settingsOf(config, module);
  const { bits, groupSize, mode } = settings;
  const weight = storedPart(checkpoint, name, WHERE);
  const leading = weight.shape.slice(0, -1);
  const words = weight.shape[weight.shape.length - 1] ?? 0;
  checkPart(weight, ['u32'], [weight.shape], WHERE);
  const columns = (words * 32) / bits;
  if (leading.length === 0 || columns % groupSize !== 0) {
    refuse('FORMAT', WHERE, name, `shape [${weight.shape}] does not hold groups of ${groupSize} codes of ${bits} bits`);
  }
  const groupShape = [...leading, columns / groupSize];
  const scales = storedPart(checkpoint, `${module}.scales`, WHERE);
  checkPart(scales, mode === 'affine' ? FLOATS : ['u8'], [groupShape], WHERE);
  const biases = checkpoint.tensors.get(`${module}.biases`);
  if (mode === 'affine') checkPart(storedPart(checkpoint, `${module}.biases`, WHERE), FLOATS, [groupShape], WHERE);
  else if (biases !== undefined) refuse('FORMAT', WHERE, biases.name, `mode ${mode} has no biases`);
  const parts = [weight, scales, ...(biases === undefined ? [] : [biases])];
  const shape = [...leading, columns];
  const scheme = mlxScheme(settings, shape.length - 1);
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts,
    read: async (options) => {
      const read = await mapBatched(parts, (part: LazyTensor) => readPart(part, options));
      return joinMlx(shape, scheme, settings, read);
    },
  });
}

function mlxScheme({ mode, bits, groupSize }: MlxSettings, axis: number): Scheme {
  const granularity = { type: 'group', axis, size: groupSize } as const;
  if (isMlxMode(mode)) return { name: mode, version: 1, grid: MLX_MODES[mode].grid, granularity };
  return {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits, signed: false, symmetric: false },
    granularity,
  };
}

function joinMlx(
  shape: readonly number[],
  scheme: Scheme,
  { mode, bits }: MlxSettings,
  [weight, scales, biases]: readonly PackedTensor<DType>[],
): QuantizedTensor {
  const { bytes } = weight as PackedTensor;
  const stored = scales as PackedTensor<DType>;
  if (isMlxMode(mode)) {
    const { codeType, scaleType } = MLX_MODES[mode];
    const parts = {
      codes: packed(codeType, shape, bytes),
      scales: packed(scaleType, stored.shape, stored.bytes),
    };
    return { kind: 'quantized', shape, scheme, parts };
  }
  const codes = packed(`u${bits}` as DType, shape, bytes);
  return { kind: 'quantized', shape, scheme, parts: { codes, scales: stored, offsets: biases as PackedTensor<DType> } };
}

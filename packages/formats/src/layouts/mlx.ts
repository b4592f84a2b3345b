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
import { refuse } from './internal/refuse.js';
import { expectShape, moduleName, namesBefore, needPart, storedWeight } from './internal/weight-parts.js';

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
    return namesBefore(checkpoint, '.scales').some(
      (module) => checkpoint.tensors.get(`${module}.weight`)?.dtype === 'u32',
    );
  },
  weights(checkpoint, config) {
    const found = namesBefore(checkpoint, '.scales').map((module) => mlxWeight(checkpoint, module, config));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: {
    embeddings: true,
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
        ...Object.fromEntries(layers.map(([name, settings]) => [moduleName(name, WHERE), settings])),
      };
      return { quantization, quantization_config: quantization };
    },
  },
};

function mlxWeight(checkpoint: Checkpoint, module: string, config: JsonObject | undefined): LazyQuantizedTensor {
  const name = `${module}.weight`;
  const settings = settingsOf(config, module);
  const { bits, groupSize, mode } = settings;
  const weight = needPart(checkpoint, name, ['u32'], WHERE);
  const leading = weight.shape.slice(0, -1);
  const words = weight.shape[weight.shape.length - 1] ?? 0;
  const columns = (words * 32) / bits;
  if (leading.length === 0 || columns % groupSize !== 0) {
    refuse('FORMAT', WHERE, name, `shape [${weight.shape}] does not hold groups of ${groupSize} codes of ${bits} bits`);
  }
  const groupShape = [...leading, columns / groupSize];
  const part = (key: string, dtypes: readonly DType[]): LazyTensor => {
    const found = needPart(checkpoint, `${module}.${key}`, dtypes, WHERE);
    expectShape(found, WHERE, groupShape);
    return found;
  };
  const isAffine = mode === 'affine';
  if (!isAffine && checkpoint.tensors.has(`${module}.biases`)) {
    refuse('FORMAT', WHERE, `${module}.biases`, `mode ${mode} has no biases`);
  }
  const shape = [...leading, columns];
  const scheme = mlxScheme(settings, shape.length - 1);
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts: {
      weight,
      scales: part('scales', isAffine ? FLOATS : ['u8']),
      ...(isAffine ? { biases: part('biases', FLOATS) } : {}),
    },
    decode: (parts) => joinMlx(shape, scheme, settings, parts),
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
  parts: { readonly weight?: PackedTensor; readonly scales?: PackedTensor; readonly biases?: PackedTensor },
): QuantizedTensor {
  const { bytes } = parts.weight as PackedTensor;
  const scales = parts.scales as PackedTensor;
  if (isMlxMode(mode)) {
    const { codeType, scaleType } = MLX_MODES[mode];
    const codes = packed(codeType, shape, bytes);
    return {
      kind: 'quantized',
      shape,
      scheme,
      parts: { codes, scales: packed(scaleType, scales.shape, scales.bytes) },
    };
  }
  const codes = packed(`u${bits}` as DType, shape, bytes);
  return { kind: 'quantized', shape, scheme, parts: { codes, scales, offsets: parts.biases as PackedTensor } };
}

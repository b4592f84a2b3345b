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
  type ReadOptions,
  type Scheme,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { blocksToRuns, flatRun } from './internal/flat-blocks.js';
import { HQQ_PACKINGS, hqqWordRows, unpackHqq } from './internal/hqq-packing.js';
import { HQQ_SETTINGS, type HqqSettings, readHqqSettings } from './internal/hqq-settings.js';
import { splitHqq } from './internal/hqq-writer.js';
import { refuse } from './internal/refuse.js';
import { commonSetting, unquantizedModules } from './internal/runtime-config.js';
import { quantizationConfig, quantMethod } from './internal/settings.js';
import { expectShape, inBatches, namesBefore, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'hqq';
const FLOATS: readonly DType[] = ['f16', 'bf16', 'f32'];

/**
 * The weights of HQQ, as its safetensors files hold them: packed codes `W_q`, float scales and (fractional) zeros, and the settings
 * of each layer in small tensors. `w = (code - zero) * scale` in groups of the flat weight; HQQ computes in its compute type, the
 * values here are those of float32 arithmetic.
 *
 * Axis 1: a group is a run of elements. Where it crosses rows, its parameters are repeated (see flat-blocks). Axis 0: the elements
 * of a group lie `elements / groupSize` apart, so each element has parameters of its own here, in the type of the file.
 *
 * Written: 1 to 8 bits, axis 1 (axis 0 for what was read so, told by `scheme.params`), with scales and zeros in their own type,
 * or in the first of f16, bf16 and f32 that holds them.
 *
 * Source: hqq, `core/quantize.py`, `core/bitpack.py`, `core/utils.py` (`encode_safetensor_type`); transformers, `HqqConfig`.
 */
export const hqq: WeightLayout = {
  name: WHERE,
  detect(checkpoint, config) {
    if ((quantMethod(quantizationConfig(config)) ?? WHERE) !== WHERE) return false;
    return namesBefore(checkpoint, '.W_q').some((module) => checkpoint.tensors.has(`${module}.nbits`));
  },
  async weights(checkpoint, _config, options) {
    const modules = namesBefore(checkpoint, '.W_q');
    const found = await inBatches(modules, (module) => hqqWeight(checkpoint, module, options));
    return new Map(found.map((weight) => [weight.name, weight]));
  },
  writer: { split: splitHqq, config: hqqConfig },
};

async function hqqWeight(checkpoint: Checkpoint, module: string, options?: ReadOptions): Promise<LazyQuantizedTensor> {
  const name = `${module}.weight`;
  const settings = await readHqqSettings(checkpoint, module, options);
  const { groupSize, shape, axis } = settings;
  const groups = (shape[0] * shape[1]) / groupSize;
  // The words may be labelled as floats (view_as_float): only their bytes count.
  const codes = checkpoint.tensors.get(`${module}.W_q`) as LazyTensor;
  const [rows, width] = axis === 1 ? [groups, groupSize] : [groupSize, groups];
  const packing = HQQ_PACKINGS[settings.packing] as (typeof HQQ_PACKINGS)[string];
  const wordRows = hqqWordRows(rows, packing);
  if (wordRows === undefined || codes.byteLength !== wordRows * width * packing.wordBytes) {
    refuse(
      'FORMAT',
      WHERE,
      codes.name,
      `${codes.byteLength} bytes do not hold ${rows} x ${width} codes, ${settings.packing}`,
    );
  }
  const parameterShape = axis === 1 ? [groups, 1] : [1, groups];
  const part = (key: string, ...expected: number[]): LazyTensor => {
    const found = needPart(checkpoint, `${module}.${key}`, FLOATS, WHERE);
    expectShape(found, WHERE, expected);
    return found;
  };
  const stacked = checkpoint.tensors.has(`${module}.zero_scale`);
  const own = HQQ_SETTINGS.map((key) => checkpoint.tensors.get(`${module}.${key}`));
  const scheme = hqqScheme(settings);
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts: {
      words: codes,
      ...(stacked
        ? { both: part('zero_scale', 2, ...parameterShape) }
        : { zero: part('zero', ...parameterShape), scale: part('scale', ...parameterShape) }),
    },
    settings: own.filter((setting): setting is LazyTensor => setting !== undefined),
    decode: ({ words, both, zero, scale }: HqqParts): QuantizedTensor => {
      const data = unpackHqq((words as PackedTensor).bytes, packing, rows, width);
      const [zeros, scales] = both === undefined ? [zero, scale] : halves(both as PackedTensor<DType>);
      const spread = (parameter: PackedTensor | undefined): PackedTensor<DType> =>
        spreadGroups(parameter as PackedTensor<DType>, settings);
      return {
        kind: 'quantized',
        shape,
        scheme,
        parts: { codes: tensor(data, shape), scales: spread(scales), zeros: spread(zeros) },
      };
    },
  });
}

interface HqqParts {
  readonly words?: PackedTensor;
  readonly both?: PackedTensor;
  readonly zero?: PackedTensor;
  readonly scale?: PackedTensor;
}

/** Zeros and scales that were stacked to be moved together. */
function halves({ dtype, shape, bytes }: PackedTensor<DType>): PackedTensor<DType>[] {
  const middle = bytes.length / 2;
  return [bytes.subarray(0, middle), bytes.subarray(middle)].map((half) => packed(dtype, shape.slice(1), half));
}

function hqqScheme({ bits, groupSize, shape, axis }: HqqSettings): Scheme {
  const size = axis === 1 ? flatRun(groupSize, shape[1]) : 1;
  return {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits, signed: false, symmetric: false },
    granularity: { type: 'group', axis: 1, size },
    params: { axis, groupSize },
  };
}

/** A parameter for each run of elements, in the type of the file. */
function spreadGroups(
  { dtype, bytes }: PackedTensor<DType>,
  { groupSize, shape, axis }: HqqSettings,
): PackedTensor<DType> {
  const [rows, columns] = shape;
  const run = axis === 1 ? flatRun(groupSize, columns) : 1;
  const runShape = [rows, columns / run];
  if (run === groupSize && axis === 1) return packed(dtype, runShape, bytes);
  const runs = (rows * columns) / run;
  const copy = bytes.slice().buffer;
  const words = dtype === 'f32' ? new Uint32Array(copy) : new Uint16Array(copy);
  const spread = axis === 1 ? blocksToRuns(words, groupSize, run, runs) : repeated(words, runs);
  return packed(dtype, runShape, new Uint8Array(spread.buffer));
}

function repeated<A extends Uint16Array | Uint32Array>(words: A, count: number): A {
  const out = new (words.constructor as new (length: number) => A)(count);
  for (let i = 0; i < count; i += words.length) out.set(words, i);
  return out;
}

/** transformers' `HqqConfig`; vLLM reads the same keys (4 bits, axis 1). */
function hqqConfig(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject {
  const bits = commonSetting<number>(weights, 'bits', WHERE);
  const groupSize = commonSetting<number>(weights, 'groupSize', WHERE);
  const axis = commonSetting<number>(weights, 'axis', WHERE);
  if (bits === undefined) {
    throw new HalftoneError('UNSUPPORTED', 'there are no quantized weights to describe', { where: WHERE });
  }
  return {
    quantization_config: {
      quant_config: {
        offload_meta: false,
        scale_quant_params: null,
        weight_quant_params: {
          axis,
          channel_wise: true,
          group_size: groupSize,
          nbits: bits,
          optimize: true,
          round_zero: false,
          view_as_float: false,
        },
        zero_quant_params: null,
      },
      quant_method: WHERE,
      skip_modules: unquantizedModules(weights, plain),
    },
  };
}

/** One linear layer as compressed-tensors stores it, and the configuration of a file of them. */
import {
  type Grid,
  type JsonObject,
  type PackedTensor,
  packCodes,
  packed,
  type QuantizedTensor,
  type SplitWeight,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { type AffineWeight, affineWeight, exactFloats, integerZeros, refuseSideParts } from './affine-weight.js';
import { fail, WHERE } from './compressed-tensors-parts.js';
import { packWordRows, transposed, transposedCodes, type WordPacking, wordsPerRow } from './packed-words.js';
import { unquantizedModules } from './runtime-config.js';
import { moduleName } from './weight-parts.js';

export interface WriteOptions {
  readonly integers: 'pack-quantized' | 'int-quantized';
  readonly packing: WordPacking;
}

/** What `config` puts into a group; layers with equal settings share one. */
interface LayerSettings extends JsonObject {
  readonly format: string;
  readonly weights: JsonObject;
  readonly input_activations: JsonObject | null;
}

export function splitWeight(name: string, weight: QuantizedTensor, options: WriteOptions): SplitWeight {
  const module = moduleName(name, WHERE);
  const { grid } = weight.scheme;
  if (weight.shape.length !== 2 || weight.shape.includes(0)) {
    fail('UNSUPPORTED', `${name}: shape [${weight.shape}] is not that of a linear layer`, {
      name,
      shape: weight.shape,
    });
  }
  if (grid.type === 'affine') {
    return options.integers === 'int-quantized'
      ? splitInt8(name, module, weight)
      : splitPacked(name, module, weight, options.packing);
  }
  if (isFloat(grid, 4, 3, 7)) return splitFloat8(name, module, weight);
  if (isFloat(grid, 2, 1, 1)) return splitFloat4(name, module, weight);
  return fail('UNSUPPORTED', `${name}: scheme ${weight.scheme.name} is neither integers, E4M3 nor E2M1 floats`, {
    name,
    scheme: weight.scheme,
  });
}

function isFloat(grid: Grid, exponent: number, mantissa: number, bias: number): boolean {
  return grid.type === 'float' && grid.exponent === exponent && grid.mantissa === mantissa && grid.bias === bias;
}

function splitPacked(name: string, module: string, weight: QuantizedTensor, packing: WordPacking): SplitWeight {
  const affine = affineWeight(weight, WHERE);
  const { rows, columns, bits, groups, groupSize, groupIndex, symmetric } = affine;
  if (bits > 8) fail('UNSUPPORTED', `${name}: codes of ${bits} bits; the layout has 1 to 8`, { name, bits });
  checkGroups(name, affine);
  const zeros = integerZeros(affine, WHERE);
  const scales = exactFloats(affine.scales, ['f16', 'bf16'], [rows, groups], `${name}: scales`, WHERE);
  const words = (codes: Uint8Array, lines: number, length: number): PackedTensor<'i32'> =>
    packed('i32', [lines, wordsPerRow(length, bits, packing)], packWordRows(codes, bits, lines, length, packing));
  const tensors = new Map<string, PackedTensor>([
    [`${module}.weight_packed`, words(affine.codes as Uint8Array, rows, columns)],
    [`${module}.weight_scale`, scales],
  ]);
  if (!symmetric) {
    tensors.set(`${module}.weight_zero_point`, transposed(words(transposedCodes(zeros, rows, groups), groups, rows)));
  }
  if (groupIndex !== undefined) {
    tensors.set(`${module}.weight_g_idx`, packed('i32', [columns], new Uint8Array(Int32Array.from(groupIndex).buffer)));
  }
  const shape = BigInt64Array.of(BigInt(rows), BigInt(columns));
  tensors.set(`${module}.weight_shape`, packed('i64', [2], new Uint8Array(shape.buffer)));
  const weights = integerArguments(
    bits,
    symmetric,
    groups === 1 ? null : groupSize,
    groupIndex === undefined ? null : 'group',
  );
  return { tensors, settings: settingsOf('pack-quantized', weights) };
}

/** The runtime cuts rows into groups of one size, in the order of g_idx where there is one. */
function checkGroups(name: string, { columns, groups, groupSize, groupIndex }: AffineWeight): void {
  if (columns % groupSize !== 0) {
    fail('UNSUPPORTED', `${name}: ${columns} columns are not whole groups of ${groupSize}`, {
      name,
      columns,
      groupSize,
    });
  }
  if (groupIndex === undefined) return;
  const counts = new Uint32Array(groups);
  for (const group of groupIndex) counts[group] = (counts[group] as number) + 1;
  const uneven = counts.findIndex((count) => count !== groupSize);
  if (uneven < 0) return;
  fail('UNSUPPORTED', `${name}: group ${uneven} of groupIndex has ${counts[uneven]} columns, not ${groupSize}`, {
    name,
  });
}

function splitInt8(name: string, module: string, weight: QuantizedTensor): SplitWeight {
  const affine = affineWeight(weight, WHERE);
  const { rows, columns, bits, groups, symmetric } = affine;
  const wrong =
    bits !== 8
      ? `codes of ${bits} bits`
      : groups !== 1
        ? `groups of ${affine.groupSize} columns`
        : symmetric
          ? undefined
          : 'zeros or offsets';
  if (wrong !== undefined) {
    fail('UNSUPPORTED', `${name}: ${wrong}; int-quantized has 8 bits, one scale for each row and no zeros`, { name });
  }
  const codes = new Int8Array(affine.codes.length);
  for (let i = 0; i < codes.length; i++) codes[i] = (affine.codes[i] as number) - 128;
  const tensors = new Map<string, PackedTensor>([
    [`${module}.weight`, packed('i8', [rows, columns], new Uint8Array(codes.buffer))],
    [`${module}.weight_scale`, exactFloats(affine.scales, ['f32'], [rows, 1], `${name}: scales`, WHERE)],
  ]);
  const perToken = { num_bits: 8, type: 'int', symmetric: true, strategy: 'token', dynamic: true };
  return { tensors, settings: settingsOf('int-quantized', integerArguments(8, true, null, null), perToken) };
}

function splitFloat8(name: string, module: string, weight: QuantizedTensor): SplitWeight {
  refuseFloatParts(name, weight);
  const { granularity } = weight.scheme;
  const [rows, columns] = weight.shape as readonly [number, number];
  const arrangement =
    granularity.type === 'tensor'
      ? { shape: [1], strategy: 'tensor', block: null }
      : granularity.type === 'axis' && granularity.axis === 0
        ? { shape: [rows, 1], strategy: 'channel', block: null }
        : granularity.type === 'block'
          ? {
              shape: [Math.ceil(rows / granularity.rows), Math.ceil(columns / granularity.columns)],
              strategy: 'block',
              block: [granularity.rows, granularity.columns],
            }
          : undefined;
  if (arrangement === undefined) {
    return fail(
      'UNSUPPORTED',
      `${name}: FP8 scales are one for the tensor, a row or a block, not ${granularity.type}`,
      {
        name,
        granularity,
      },
    );
  }
  const { shape, strategy, block } = arrangement;
  const scales = scaleValues(
    weight,
    shape.reduce((a, b) => a * b, 1),
  );
  const tensors = new Map<string, PackedTensor>([
    [`${module}.weight`, packed('f8_e4m3', [rows, columns], Uint8Array.from(unpackCodes(weight.parts.codes)))],
    [`${module}.weight_scale`, exactFloats(scales, ['f32'], shape, `${name}: scales`, WHERE)],
  ]);
  return { tensors, settings: settingsOf('float-quantized', floatArguments(8, strategy, null, block)) };
}

function splitFloat4(name: string, module: string, weight: QuantizedTensor): SplitWeight {
  refuseFloatParts(name, weight);
  const { granularity } = weight.scheme;
  const [rows, columns] = weight.shape as readonly [number, number];
  const size = granularity.type === 'group' && granularity.axis === 1 ? granularity.size : 0;
  if ((size !== 16 && size !== 32) || columns % size !== 0) {
    fail('UNSUPPORTED', `${name}: E2M1 floats need whole groups of 16 (NVFP4) or 32 columns (MXFP4)`, {
      name,
      granularity,
    });
  }
  const codes = packCodes(unpackCodes(weight.parts.codes), 4, false, [rows, columns]);
  const tensors = new Map<string, PackedTensor>([
    [`${module}.weight_packed`, packed('u8', [rows, columns / 2], codes.bytes)],
  ]);
  const shape = [rows, columns / size];
  const count = rows * (columns / size);
  if (size === 32) {
    const scales = exactFloats(scaleValues(weight, count), ['f8_e8m0'], shape, `${name}: scales`, WHERE);
    tensors.set(`${module}.weight_scale`, packed('u8', shape, scales.bytes));
    return { tensors, settings: settingsOf('mxfp4-pack-quantized', floatArguments(4, 'group', 32, null)) };
  }
  const { scales, divisor } = dividedScales(name, weight, count);
  tensors.set(`${module}.weight_scale`, exactFloats(scales, ['f8_e4m3'], shape, `${name}: scales`, WHERE));
  tensors.set(`${module}.weight_global_scale`, exactFloats(divisor, ['f32'], [1], `${name}: globalScale`, WHERE));
  return { tensors, settings: settingsOf('nvfp4-pack-quantized', floatArguments(4, 'tensor_group', 16, null)) };
}

/** Group scales, and the float32 number that dividing them by is the same as multiplying by `globalScale`. */
function dividedScales(name: string, weight: QuantizedTensor, count: number) {
  const { scales: part, globalScale = 1 } = weight.parts;
  const scales = part === undefined ? new Float32Array(count).fill(1) : toFloat32(part as Tensor);
  const divisor = Float32Array.of(1 / globalScale);
  const [g] = divisor as unknown as [number];
  const exact =
    g > 0 && g < Infinity && scales.every((s) => Object.is(Math.fround(s * globalScale), Math.fround(s / g)));
  if (exact) return { scales, divisor };
  return fail(
    'UNSUPPORTED',
    `${name}: scales times globalScale ${globalScale} are not scales divided by a float32 number`,
    {
      name,
      globalScale,
    },
  );
}

/** As `dequantize` rounds them: times `globalScale`, to float32. */
function scaleValues({ parts: { scales, globalScale = 1 } }: QuantizedTensor, count: number): Float32Array {
  const values = scales === undefined ? new Float32Array(count).fill(1) : toFloat32(scales as Tensor);
  return globalScale === 1 ? values : values.map((scale) => scale * globalScale);
}

function refuseFloatParts(name: string, weight: QuantizedTensor): void {
  refuseSideParts(weight, WHERE);
  const { zeros, offsets, groupIndex } = weight.parts;
  if (zeros === undefined && offsets === undefined && groupIndex === undefined) return;
  fail('UNSUPPORTED', `${name}: floats have no zeros, offsets or groupIndex in this layout`, { name });
}

function integerArguments(
  bits: number,
  symmetric: boolean,
  groupSize: number | null,
  order: 'group' | null,
): JsonObject {
  const strategy = groupSize === null ? 'channel' : 'group';
  return { num_bits: bits, type: 'int', symmetric, strategy, group_size: groupSize, dynamic: false, actorder: order };
}

function floatArguments(
  bits: number,
  strategy: string,
  groupSize: number | null,
  block: readonly number[] | null,
): JsonObject {
  return {
    num_bits: bits,
    type: 'float',
    symmetric: true,
    strategy,
    group_size: groupSize,
    dynamic: false,
    ...(block === null ? {} : { block_structure: block }),
  };
}

function settingsOf(format: string, weights: JsonObject, inputActivations: JsonObject | null = null): LayerSettings {
  return { format, weights, input_activations: inputActivations };
}

export function writeConfig(weights: ReadonlyMap<string, JsonObject>, plain: readonly string[]): JsonObject {
  if (weights.size === 0) return {};
  const groups = new Map<string, { settings: JsonObject; targets: string[] }>();
  for (const [name, settings] of weights) {
    const key = JSON.stringify(settings);
    const group = groups.get(key) ?? { settings, targets: [] };
    groups.set(key, group);
    group.targets.push(moduleName(name, WHERE));
  }
  const all = [...groups.values()];
  const formats = new Set(all.map(({ settings }) => settings['format']));
  return {
    quantization_config: {
      quant_method: 'compressed-tensors',
      format: formats.size === 1 ? all[0]?.settings['format'] : 'mixed-precision',
      quantization_status: 'compressed',
      config_groups: Object.fromEntries(
        all.map(({ settings, targets }, i) => [
          `group_${i}`,
          { targets: all.length === 1 ? ['Linear'] : targets, output_activations: null, ...settings },
        ]),
      ),
      ignore: unquantizedModules(weights, plain),
      kv_cache_scheme: null,
      global_compression_ratio: null,
    },
  };
}

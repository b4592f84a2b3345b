import {
  type Checkpoint,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  nativeData,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type SplitWeight,
  type WeightLayout,
} from '@halftone/tensor';
import { affineScheme, affineTensor, affineWeight, exactFloats, integerZeros } from './internal/affine-weight.js';
import { packWordRows, transposed, transposedCodes, unpackWordRows } from './internal/packed-words.js';
import { isObject, own, quantizationConfig, quantMethod, wholeSetting } from './internal/settings.js';
import { expectShape, findPart, matrixSides, moduleName, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'gptq';
const BITS: readonly number[] = [2, 3, 4, 8];
const VERSIONS = { v1: 'gptq', v2: 'gptq_v2' } as const;

export interface GptqOptions {
  /**
   * How zeros are written: `v1` stores `zero - 1`, which every runtime reads, and cannot hold a zero of 0; `v2` stores `zero`
   * (`checkpoint_format: gptq_v2`). Files tell which they are, so reading needs no option. Default `v1`.
   */
  readonly version?: 'v1' | 'v2';
}

export const GPTQ_DEFAULTS: Required<GptqOptions> = { version: 'v1' };

/**
 * GPTQ checkpoints of AutoGPTQ, GPTQModel, transformers and vLLM: 2, 3, 4 or 8 bits, one scale for each row or group, whole
 * zeros, any `g_idx`.
 *
 * A layer `X` is `X.qweight` int32 `[in * bits / 32, out]`, codes packed along the input; `X.qzeros` int32
 * `[groups, out * bits / 32]`, packed along the output; `X.scales` f16 `[groups, out]`; `X.g_idx` int32 `[in]`, the group of
 * each input. Packing is low-first and dense: 32 codes of 3 bits take 3 words. `value = scale * (code - zero)`.
 *
 * Version 1 is read field by field modulo `2^bits`: a stored `2^bits - 1` is a zero of 0. Runtimes that add 1 to whole words
 * carry from there into the next field, and others subtract `2^bits`, so such zeros are refused when version 1 is written.
 * `lm_head` and layers with bits of their own (GPTQModel's `dynamic`) are read; written files have one setting for all
 * layers, and name layers left plain in `dynamic`, as GPTQModel and vLLM read it.
 *
 * Settings are in `config.json` under `quantization_config`, or in the older `quantize_config.json`, which may be given instead.
 */
export function gptq(options: GptqOptions = {}): WeightLayout {
  const { version } = { ...GPTQ_DEFAULTS, ...options };
  return {
    name: 'gptq',
    detect(checkpoint, config) {
      const settings = quantizationConfig(config);
      const method = quantMethod(settings);
      const named = method === 'gptq' || (method === undefined && own(settings, 'desc_act') !== undefined);
      return named && [...checkpoint.tensors].some(([name, { dtype }]) => name.endsWith('.qweight') && dtype === 'i32');
    },
    weights: readWeights,
    writer: {
      split: (name, weight) => split(name, weight, version),
      config: (weights, plain) => writeConfig(weights, plain, version),
    },
  };
}

interface GptqSettings {
  readonly bits: number;
  /** 0: one scale for each row. */
  readonly groupSize: number;
  /** What a reader adds to stored zeros. */
  readonly zeroStep: 0 | 1;
  /** Some layers have settings of their own, which their shapes tell. */
  readonly dynamic: boolean;
}

function readSettings(config: JsonObject | undefined): GptqSettings {
  const settings = quantizationConfig(config);
  const format = own(settings, 'checkpoint_format') ?? own(settings, 'format') ?? VERSIONS.v1;
  if (format !== VERSIONS.v1 && format !== VERSIONS.v2) {
    fail('UNSUPPORTED', `checkpoint_format ${JSON.stringify(format)} is not read; gptq and gptq_v2 are`, { format });
  }
  const packType = own(settings, 'pack_dtype') ?? 'int32';
  if (packType !== 'int32') {
    fail('UNSUPPORTED', `pack_dtype ${JSON.stringify(packType)} is not read; int32 is`, { packType });
  }
  const bits = wholeSetting(settings, ['bits'], 1, 32, WHERE);
  if (!BITS.includes(bits)) fail('UNSUPPORTED', `${bits} bits are not read; ${BITS.join(', ')} are`, { bits });
  const groupSize = wholeSetting(settings, ['group_size'], -1, 2 ** 31, WHERE);
  if (groupSize === 0) fail('FORMAT', 'quantization_config: group_size is 0; it is -1 or a number of columns');
  const dynamic = own(settings, 'dynamic');
  return {
    bits,
    groupSize: Math.max(0, groupSize),
    zeroStep: format === VERSIONS.v1 ? 1 : 0,
    dynamic: isObject(dynamic) && Object.keys(dynamic).length > 0,
  };
}

function readWeights(checkpoint: Checkpoint, config?: JsonObject): Map<string, LazyQuantizedTensor> {
  const settings = readSettings(config);
  const weights = new Map<string, LazyQuantizedTensor>();
  for (const name of checkpoint.tensors.keys()) {
    if (!name.endsWith('.qweight')) continue;
    const weight = lazyWeight(checkpoint, name.slice(0, -'.qweight'.length), settings);
    weights.set(weight.name, weight);
  }
  return weights;
}

function lazyWeight(checkpoint: Checkpoint, base: string, settings: GptqSettings): LazyQuantizedTensor {
  const qweight = needPart(checkpoint, `${base}.qweight`, ['i32'], WHERE);
  const qzeros = needPart(checkpoint, `${base}.qzeros`, ['i32'], WHERE);
  const scales = needPart(checkpoint, `${base}.scales`, ['f16', 'bf16', 'f32'], WHERE);
  const indices = findPart(checkpoint, `${base}.g_idx`, ['i32'], WHERE);
  const [words, rows] = matrixSides(qweight, WHERE);
  const [groups] = matrixSides(scales, WHERE);
  // A layer's own bits show in the length of its g_idx.
  const columns = (settings.dynamic ? indices?.shape[0] : undefined) ?? (words * 32) / settings.bits;
  const bits = settings.dynamic ? (words * 32) / columns : settings.bits;
  if (!Number.isInteger(columns) || columns === 0 || !BITS.includes(bits)) {
    fail('FORMAT', `${base}.qweight: shape [${qweight.shape}] does not hold whole rows of ${settings.bits}-bit codes`, {
      name: qweight.name,
      shape: qweight.shape,
    });
  }
  if (indices !== undefined) expectShape(indices, WHERE, [columns]);
  const groupSize = groupSizeOf(settings, columns, groups);
  expectShape(scales, WHERE, [groupSize === 0 ? 1 : Math.ceil(columns / groupSize), rows]);
  expectShape(qzeros, WHERE, [groups, (rows * bits) / 32]);
  return storedWeight({
    layout: 'gptq',
    name: `${base}.weight`,
    shape: [rows, columns],
    scheme: affineScheme(bits, groupSize),
    parts: { qweight, qzeros, scales, indices },
    decode(parts) {
      const mask = 2 ** bits - 1;
      const { zeroStep } = settings;
      const zeros = unpackWordRows((parts.qzeros as PackedTensor).bytes, bits, groups, rows);
      if (zeroStep > 0) for (let i = 0; i < zeros.length; i++) zeros[i] = ((zeros[i] as number) + zeroStep) & mask;
      const groupIndex = readGroupIndex(parts.indices as PackedTensor<'i32'> | undefined, base, groupSize, groups);
      return affineTensor({
        rows,
        columns,
        bits,
        groupSize,
        codes: unpackWordRows(transposed(parts.qweight as PackedTensor<'i32'>).bytes, bits, rows, columns),
        scales: transposed(parts.scales as PackedTensor<'f16'>),
        zeros: transposedCodes(zeros, groups, rows),
        ...(groupIndex === undefined ? {} : { groupIndex }),
      });
    },
  });
}

/** The configured size, or the layer's own: sizes in `dynamic` show in the number of groups. */
function groupSizeOf({ groupSize, dynamic }: GptqSettings, columns: number, groups: number): number {
  const fits = groups === (groupSize === 0 ? 1 : Math.ceil(columns / groupSize));
  if (fits || !dynamic || columns % groups !== 0) return groupSize;
  return groups === 1 ? 0 : columns / groups;
}

/** Undefined where every column is in the group of its place. Throws `RANGE` for groups that do not exist. */
function readGroupIndex(
  tensor: PackedTensor<'i32'> | undefined,
  base: string,
  groupSize: number,
  groups: number,
): Uint32Array | undefined {
  if (tensor === undefined) return undefined;
  const indices = nativeData(tensor);
  const bad = indices.findIndex((group) => group < 0 || group >= groups);
  if (bad >= 0) {
    fail('RANGE', `${base}.g_idx: column ${bad} is in group ${indices[bad]}, but the groups are 0 .. ${groups - 1}`, {
      column: bad,
      group: indices[bad],
    });
  }
  if (groupSize === 0 || indices.every((group, column) => group === Math.floor(column / groupSize))) return undefined;
  return Uint32Array.from(indices);
}

function split(name: string, weight: QuantizedTensor, version: 'v1' | 'v2'): SplitWeight {
  const base = moduleName(name, WHERE);
  const affine = affineWeight(weight, WHERE);
  const { rows, columns, bits, groups, groupSize, symmetric } = affine;
  if (!BITS.includes(bits))
    fail('UNSUPPORTED', `${name}: codes of ${bits} bits; GPTQ has ${BITS.join(', ')}`, { bits });
  for (const [side, count] of Object.entries({ in: columns, out: rows })) {
    if (count === 0 || (count * bits) % 32 !== 0) {
      fail('UNSUPPORTED', `${name}: ${side} ${count} times ${bits} bits is not a whole number of 32-bit words`, {
        name,
        shape: weight.shape,
      });
    }
  }
  const zeros = integerZeros(affine, WHERE);
  if (version === 'v1' && zeros.includes(0)) {
    fail(
      'UNSUPPORTED',
      `${name}: version 1 stores zero - 1, and runtimes read the zero 0 of group ${zeros.indexOf(0)} in different ways; write version 2`,
      { name, group: zeros.indexOf(0) },
    );
  }
  const mask = 2 ** bits - 1;
  const stored = version === 'v1' ? zeros.map((zero) => (zero - 1) & mask) : zeros;
  const { granularity } = weight.scheme;
  const scales = exactFloats(affine.scales, ['f16'], [rows, groups], `${name}: scales`, WHERE);
  const indices = affine.groupIndex ?? Uint32Array.from({ length: columns }, (_, j) => Math.floor(j / groupSize));
  const words = packed(
    'i32',
    [rows, (columns * bits) / 32],
    packWordRows(affine.codes as Uint8Array, bits, rows, columns),
  );
  return {
    tensors: new Map<string, PackedTensor>([
      [`${base}.qweight`, transposed(words)],
      [
        `${base}.qzeros`,
        packed(
          'i32',
          [groups, (rows * bits) / 32],
          packWordRows(transposedCodes(stored, rows, groups), bits, groups, rows),
        ),
      ],
      [`${base}.scales`, transposed(scales)],
      [`${base}.g_idx`, packed('i32', [columns], new Uint8Array(Int32Array.from(indices).buffer))],
    ]),
    settings: {
      bits,
      group_size: granularity.type === 'group' ? granularity.size : -1,
      sym: symmetric,
      desc_act: affine.groupIndex !== undefined,
    },
  };
}

function writeConfig(
  weights: ReadonlyMap<string, JsonObject>,
  plain: readonly string[],
  version: 'v1' | 'v2',
): JsonObject {
  const [first] = weights.entries();
  if (first === undefined) return {};
  const [firstName, { bits, group_size }] = first;
  for (const [name, settings] of weights) {
    if (settings['bits'] === bits && settings['group_size'] === group_size) continue;
    fail(
      'UNSUPPORTED',
      `${name} has ${settings['bits']} bits in groups of ${settings['group_size']}, ${firstName} ${bits} in groups of ${group_size}: ` +
        'a GPTQ file has one setting for all layers (only GPTQModel reads others, as dynamic); use one scheme or another layout',
      { first: firstName, second: name },
    );
  }
  const all = [...weights.values()];
  // The head is plain unless lm_head says otherwise; every other plain layer must be named.
  const skipped = plain.map((name) => moduleName(name, WHERE)).filter((name) => name !== 'lm_head');
  return {
    quantization_config: {
      quant_method: 'gptq',
      bits,
      group_size,
      desc_act: all.some((settings) => settings['desc_act'] === true),
      sym: all.every((settings) => settings['sym'] === true),
      lm_head: weights.has('lm_head.weight'),
      checkpoint_format: VERSIONS[version],
      pack_dtype: 'int32',
      ...(skipped.length === 0 ? {} : { dynamic: Object.fromEntries(skipped.map((name) => [skipRule(name), {}])) }),
    },
  };
}

/** GPTQModel's rule that leaves one layer plain: a regular expression behind `-:`. */
function skipRule(name: string): string {
  return `-:^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
}

function fail(code: 'FORMAT' | 'RANGE' | 'UNSUPPORTED', message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, ...(details === undefined ? {} : { details }) });
}

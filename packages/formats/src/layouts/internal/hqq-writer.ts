import {
  encode,
  type FloatDType,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type SplitWeight,
} from '@halftone/tensor';
import { affineWeight } from './affine-weight.js';
import { flatRun, runsToBlocks } from './flat-blocks.js';
import { HQQ_PACKING_OF_BITS, HQQ_PACKINGS, hqqWordRows, packHqq } from './hqq-packing.js';
import { refuse } from './refuse.js';
import { sharedFloatType } from './shared-float-type.js';
import { moduleName } from './weight-parts.js';

const WHERE = 'hqq';
const GROUP_SIZES = [64, 128, 32, 16, 8, 256, 512, 1024];

interface Groups {
  readonly axis: 0 | 1;
  readonly size: number;
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}

/** The tensors of a layer and its settings. Throws `UNSUPPORTED` for offsets, shuffled groups and groups that HQQ does not pack. */
export function splitHqq(name: string, weight: QuantizedTensor): SplitWeight {
  const affine = affineWeight(weight, WHERE);
  const { rows, columns, codes } = affine;
  if (affine.offsets !== undefined || affine.groupIndex !== undefined) {
    refuse('UNSUPPORTED', WHERE, name, 'HQQ has zeros but no offsets, and groups in the order of the elements');
  }
  if (rows * columns === 0) refuse('UNSUPPORTED', WHERE, name, 'weights without elements cannot be packed');
  const bits = [...HQQ_PACKING_OF_BITS.keys()].reverse().find((width) => width >= affine.bits);
  if (bits === undefined) return refuse('UNSUPPORTED', WHERE, name, `codes of ${affine.bits} bits; at most 8 are held`);
  const packingName = HQQ_PACKING_OF_BITS.get(bits) as string;
  const packing = HQQ_PACKINGS[packingName] as (typeof HQQ_PACKINGS)[string];
  const run = flatRun(affine.groupSize, columns);
  const scales = spreadRuns(affine.scales, affine, run);
  const zeros = spreadRuns(affine.zeros, affine, run);
  const groups = findGroups(
    weight,
    scales,
    zeros,
    run,
    columns,
    (packedRows) => hqqWordRows(packedRows, packing) !== undefined,
  );
  if (groups === undefined) {
    return refuse(
      'UNSUPPORTED',
      WHERE,
      name,
      `groups of ${affine.groupSize} in [${rows},${columns}] are not groups of the flat weight that ${packingName} can pack`,
    );
  }
  const { axis, size } = groups;
  const count = (rows * columns) / size;
  const [packedRows, width] = axis === 1 ? [count, size] : [size, count];
  const bytes = packHqq(codes, packing, packedRows, width);
  const wordRows = hqqWordRows(packedRows, packing) as number;
  const dtype = sharedFloatType([groups.scales, groups.zeros], weight.parts.scales);
  const parameterShape = axis === 1 ? [count, 1] : [1, count];
  const module = moduleName(name, WHERE);
  const parts: Record<string, PackedTensor> = {
    W_q: packed(packing.wordBytes === 1 ? 'u8' : 'i32', [wordRows, width], bytes),
    scale: encode(groups.scales, dtype, parameterShape),
    zero: encode(groups.zeros, dtype, parameterShape),
    ...settingTensors({ bits, size, axis, packing: packingName, shape: [rows, columns], dtype }),
  };
  return {
    tensors: new Map(Object.entries(parts).map(([key, part]) => [`${module}.${key}`, part])),
    settings: { bits, groupSize: size, axis },
  };
}

function settingTensors(settings: {
  readonly bits: number;
  readonly size: number;
  readonly axis: number;
  readonly packing: string;
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
}): Record<string, PackedTensor> {
  const { bits, size, axis, packing, shape, dtype } = settings;
  const number = (value: number): PackedTensor => encode([value], 'i32', []);
  const flag = (value: boolean): PackedTensor => packed('u8', [], Uint8Array.of(value ? 1 : 0));
  const text = (value: string): PackedTensor => packed('u8', [value.length], new TextEncoder().encode(value));
  const torch = { f16: 'torch.float16', bf16: 'torch.bfloat16', f32: 'torch.float32' } as Record<string, string>;
  return {
    nbits: number(bits),
    group_size: number(size),
    shape: encode(shape, 'i64'),
    axis: number(axis),
    packing: text(packing),
    unpack_view_dtype: text(packing === '3bit_32' ? 'torch.int32' : 'torch.uint8'),
    view_as_float: flag(false),
    quant_scale: flag(false),
    quant_zero: flag(false),
    compute_dtype: text(torch[dtype] as string),
    channel_wise: flag(true),
    optimize: flag(true),
    round_zero: flag(false),
    offload_meta: flag(false),
    encoded_state_dict: flag(true),
    stores_quant_config: flag(true),
  };
}

/** One value for each run of elements, from one for each group of a row. */
function spreadRuns(
  values: Float32Array,
  affine: { readonly rows: number; readonly columns: number; readonly groups: number; readonly groupSize: number },
  run: number,
): Float32Array {
  const runsInRow = affine.columns / run;
  return Float32Array.from({ length: affine.rows * runsInRow }, (_, i) => {
    const row = Math.floor(i / runsInRow);
    return values[row * affine.groups + Math.floor(((i % runsInRow) * run) / affine.groupSize)] as number;
  });
}

/** Groups as HQQ has them, each with one scale and one zero, in the first size that holds the weight. */
function findGroups(
  { scheme }: QuantizedTensor,
  scales: Float32Array,
  zeros: Float32Array,
  run: number,
  columns: number,
  packs: (rows: number) => boolean,
): Groups | undefined {
  const elements = scales.length * run;
  const { axis, groupSize } = scheme.params ?? {};
  const own = Number.isInteger(groupSize) && (groupSize as number) > 0 ? (groupSize as number) : undefined;
  if (axis === 0 && run === 1 && own !== undefined && elements % own === 0 && packs(own)) {
    const count = elements / own;
    const whole = [scales, zeros].every((values) => values.every((value, i) => Object.is(value, values[i % count])));
    if (whole) return { axis: 0, size: own, scales: scales.slice(0, count), zeros: zeros.slice(0, count) };
  }
  for (const size of [...(own === undefined ? [] : [own]), run, ...GROUP_SIZES, columns]) {
    if (elements % size !== 0 || !packs(elements / size) || (size % 8 !== 0 && size !== own)) continue;
    const [s, z] = [runsToBlocks(scales, run, size), runsToBlocks(zeros, run, size)];
    if (s !== undefined && z !== undefined) return { axis: 1, size, scales: s, zeros: z };
  }
  return undefined;
}

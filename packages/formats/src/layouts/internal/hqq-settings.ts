import { type Checkpoint, type DType, nativeData, type PackedTensor, type ReadOptions } from '@halftone/tensor';
import { HQQ_PACKING_OF_BITS } from './hqq-packing.js';
import { refuse } from './refuse.js';
import { needPart } from './weight-parts.js';

const WHERE = 'hqq';

/** Tensors of a layer that hold settings: numbers, flags, and strings as bytes. */
export const HQQ_SETTINGS: readonly string[] = [
  'nbits',
  'group_size',
  'shape',
  'axis',
  'packing',
  'unpack_view_dtype',
  'view_as_float',
  'quant_scale',
  'quant_zero',
  'compute_dtype',
  'channel_wise',
  'optimize',
  'round_zero',
  'offload_meta',
  'encoded_state_dict',
  'stores_quant_config',
];

const MAX_BYTES = 64;
const COMPUTE_DTYPES = ['torch.float16', 'torch.bfloat16', 'torch.float32'];
const VIEW_DTYPES = ['torch.uint8', 'torch.int32'];

export interface HqqSettings {
  readonly bits: number;
  readonly groupSize: number;
  readonly shape: readonly [number, number];
  /** 1: a group is a run of the flat weight. 0: every so many elements of it belong to one group. */
  readonly axis: 0 | 1;
  readonly packing: string;
}

/**
 * The settings of a layer. They are compared with what is known, never evaluated. Throws `FORMAT` for settings that are missing
 * or make no sense, `UNSUPPORTED` for scales or zeros that are quantized again: HQQ itself does not write them to safetensors.
 */
export async function readHqqSettings(
  checkpoint: Checkpoint,
  module: string,
  options?: ReadOptions,
): Promise<HqqSettings> {
  const fail = (key: string, problem: string): never => refuse('FORMAT', WHERE, `${module}.${key}`, problem);
  const small = async <T extends DType>(key: string, dtypes: readonly T[]): Promise<PackedTensor<T>> => {
    const stored = needPart(checkpoint, `${module}.${key}`, dtypes, WHERE);
    if (stored.byteLength > MAX_BYTES) fail(key, `${stored.byteLength} bytes are no setting`);
    return stored.read(undefined, { signal: options?.signal });
  };
  const numbers = async (key: string, count: number): Promise<number[]> => {
    const values = Array.from(nativeData(await small(key, ['u8', 'i32', 'i64'])), Number);
    return values.length === count ? values : fail(key, `${values.length} numbers should be ${count}`);
  };
  const whole = async (key: string, highest: number, lowest = 0): Promise<number> => {
    const [value] = (await numbers(key, 1)) as [number];
    if (value >= lowest && value <= highest) return value;
    return fail(key, `${value} should be ${lowest} .. ${highest}`);
  };
  const optional = async (key: string): Promise<number> =>
    checkpoint.tensors.has(`${module}.${key}`) ? whole(key, 1) : 0;
  const text = async (key: string, known: readonly string[]): Promise<string> => {
    const value = String.fromCharCode(...(await small(key, ['u8'])).bytes);
    return known.includes(value) ? value : fail(key, `${JSON.stringify(value)} should be ${known.join(' or ')}`);
  };

  const bits = await whole('nbits', 8, 1);
  const packing = HQQ_PACKING_OF_BITS.get(bits);
  if (packing === undefined) return fail('nbits', `${bits} bits cannot be packed`);
  await text('packing', [packing]);
  for (const [key, known] of [
    ['compute_dtype', COMPUTE_DTYPES],
    ['unpack_view_dtype', VIEW_DTYPES],
  ] as const) {
    if (checkpoint.tensors.has(`${module}.${key}`)) await text(key, known);
  }
  for (const key of ['quant_scale', 'quant_zero']) {
    if ((await optional(key)) === 1)
      refuse('UNSUPPORTED', WHERE, `${module}.${key}`, 'scales and zeros must be floats');
  }
  const [rows, columns] = (await numbers('shape', 2)) as [number, number];
  const count = rows * columns;
  if (!(rows >= 1 && columns >= 1 && count <= 2 ** 50)) fail('shape', `[${rows},${columns}] is not a matrix [out, in]`);
  const axis = (await whole('axis', 1)) as 0 | 1;
  const groupSize = await whole('group_size', count, 1);
  if (count % groupSize !== 0) fail('group_size', `${groupSize} does not divide the ${count} elements of the weight`);
  return { bits, groupSize, shape: [rows, columns], axis, packing };
}

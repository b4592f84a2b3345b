import { type PackedTensor, packed } from '@halftone/tensor';
import { FP4_VALUES, NF4_VALUES } from '@halftone/tensor/codebooks';
import { parseJson } from '../../internal/json.js';
import { refuse } from './refuse.js';

const WHERE = 'bitsandbytes';

/** The values of the two 4-bit types. bitsandbytes' kernels have them built in, whatever `quant_map` says. */
export const FOUR_BIT_VALUES = { nf4: NF4_VALUES, fp4: FP4_VALUES } as const;

/** Of a `quant_state` tensor: the JSON takes about 200 bytes. */
export const STATE_MAX_BYTES = 4096;

const MAX_DIMENSIONS = 8;
const MAX_BLOCK = 65_536;
const DTYPES = ['float16', 'bfloat16', 'float32'] as const;

/** The settings of a 4-bit weight: bitsandbytes' `QuantState` without its tensors. */
export interface BlockState {
  readonly quantType: 'nf4' | 'fp4';
  /** Elements that share a scale, counted over the flat tensor. */
  readonly blockSize: number;
  /** Of the values that bitsandbytes decodes to. */
  readonly dtype: (typeof DTYPES)[number];
  readonly shape: readonly number[];
  /** The scales are themselves codes of 8 bits, in blocks. */
  readonly nested?: { readonly blockSize: number; readonly offset: number };
}

/** Reads the JSON in a `quant_state` tensor. Throws `FORMAT` for anything but the known keys' known values. */
export function parseBlockState(bytes: Uint8Array, name: string): BlockState {
  const fail = (problem: string): never => refuse('FORMAT', WHERE, name, problem);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail('the quant_state is not UTF-8');
  }
  const members = parseJson(text, WHERE, name);
  if (!(members instanceof Map)) return fail('the quant_state is not a JSON object');
  const oneOf = <T extends string>(key: string, values: readonly T[]): T =>
    values.find((value) => value === members.get(key)) ??
    fail(`${key} ${JSON.stringify(members.get(key))} should be ${values.join(' or ')}`);
  const whole = (value: unknown, what: string, lowest: number, highest: number): number =>
    Number.isInteger(value) && (value as number) >= lowest && (value as number) <= highest
      ? (value as number)
      : fail(`${what} ${JSON.stringify(value)} should be a whole number of ${lowest} .. ${highest}`);
  const dimensions = members.get('shape');
  if (!Array.isArray(dimensions) || dimensions.length === 0 || dimensions.length > MAX_DIMENSIONS) {
    return fail(`shape should be a list of 1 to ${MAX_DIMENSIONS} dimensions`);
  }
  const state: BlockState = {
    quantType: oneOf('quant_type', ['nf4', 'fp4']),
    blockSize: whole(members.get('blocksize'), 'blocksize', 1, MAX_BLOCK),
    dtype: oneOf('dtype', DTYPES),
    shape: dimensions.map((dimension) => whole(dimension, 'dimension', 0, Number.MAX_SAFE_INTEGER)),
  };
  if (!['nested_blocksize', 'nested_dtype', 'nested_offset'].some((key) => members.has(key))) return state;
  oneOf('nested_dtype', ['float32']);
  const offset = members.get('nested_offset');
  if (typeof offset !== 'number') return fail('nested_offset should be a number');
  const blockSize = whole(members.get('nested_blocksize'), 'nested_blocksize', 1, MAX_BLOCK);
  return { ...state, nested: { blockSize, offset: Math.fround(offset) } };
}

/** The `quant_state` tensor, with the keys in bitsandbytes' order. */
export function blockStateTensor({ quantType, blockSize, dtype, shape, nested }: BlockState): PackedTensor<'u8'> {
  const json = {
    quant_type: quantType,
    blocksize: blockSize,
    dtype,
    shape,
    ...(nested === undefined
      ? {}
      : { nested_blocksize: nested.blockSize, nested_dtype: 'float32', nested_offset: nested.offset }),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(json));
  return packed('u8', [bytes.length], bytes);
}

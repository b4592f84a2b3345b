import {
  type CodeArray,
  contiguousData,
  elementCount,
  encode,
  type PackedTensor,
  type ParameterTensor,
  packed,
  type QuantizedTensor,
  type SplitWeight,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { refuseSideParts } from './affine-weight.js';
import { type BlockState, blockStateTensor, FOUR_BIT_VALUES } from './bitsandbytes-state.js';
import { flatRun, runsToBlocks } from './flat-blocks.js';
import { refuse } from './refuse.js';

const WHERE = 'bitsandbytes';

/** Block sizes for which bitsandbytes has kernels. */
const BLOCK_SIZES = [64, 128, 256, 512, 1024, 2048, 4096];

interface Nested {
  readonly absmax: Uint8Array;
  readonly nestedAbsmax: Float32Array;
  readonly map: Float32Array;
  readonly blockSize: number;
  readonly offset: number;
}

/**
 * The tensors of a 4-bit weight. Equal scales of neighbouring groups are merged to bitsandbytes' blocks again; scales that are
 * quantized as bitsandbytes does it stay so, others are written as float32, which holds them exactly.
 */
export function splitFourBit(name: string, weight: QuantizedTensor): SplitWeight {
  const { scheme, shape } = weight;
  const quantType = checkFourBit(name, weight);
  const { scales: part, globalScale = 1 } = weight.parts;
  const run = scaleRun(name, weight);
  const values = new Float32Array(elementCount(shape) / run).fill(1);
  if (part !== undefined) spreadScales(weight, toFloat32(part as Tensor), run, values);
  const scales = globalScale === 1 ? values : values.map((scale) => scale * globalScale);
  const own = scheme.params?.['blockSize'];
  const group = scheme.granularity.type === 'group' ? scheme.granularity.size : 0;
  const preferred = [own, group].filter((size): size is number => BLOCK_SIZES.includes(size as number));
  for (const blockSize of [...preferred, ...BLOCK_SIZES]) {
    const absmax = runsToBlocks(scales, run, blockSize);
    if (absmax === undefined) continue;
    const nested =
      globalScale === 1 ? nestedParts(part, run, blockSize, scheme.params?.['nestedBlockSize']) : undefined;
    const dtype = scheme.params?.['dtype'];
    const state: BlockState = {
      quantType,
      blockSize,
      dtype: dtype === 'float16' || dtype === 'float32' ? dtype : 'bfloat16',
      shape,
      ...(nested === undefined ? {} : { nested }),
    };
    return {
      tensors: fourBitTensors(name, weight, state, nested ?? absmax),
      settings: { bits: 4, quantType, dtype: state.dtype, doubleQuant: nested !== undefined },
    };
  }
  return refuse(
    'UNSUPPORTED',
    WHERE,
    name,
    `no block size of ${BLOCK_SIZES.join(', ')} elements, counted over the flat tensor, has one scale for each block`,
  );
}

function fourBitTensors(
  name: string,
  weight: QuantizedTensor,
  state: BlockState,
  scales: Float32Array | Nested,
): ReadonlyMap<string, PackedTensor> {
  const bytes = packHighFirst(name, unpackCodes(weight.parts.codes));
  const tensors = new Map<string, PackedTensor>([[name, packed('u8', [bytes.length, 1], bytes)]]);
  if (scales instanceof Float32Array) tensors.set(`${name}.absmax`, encode(scales, 'f32'));
  else {
    tensors.set(`${name}.absmax`, packed('u8', [scales.absmax.length], scales.absmax));
    tensors.set(`${name}.nested_absmax`, encode(scales.nestedAbsmax, 'f32'));
    tensors.set(`${name}.nested_quant_map`, encode(scales.map, 'f32'));
  }
  tensors.set(`${name}.quant_map`, encode(FOUR_BIT_VALUES[state.quantType], 'f32'));
  tensors.set(`${name}.quant_state.bitsandbytes__${state.quantType}`, blockStateTensor(state));
  return tensors;
}

/** Two codes a byte, the first in the high bits; the low bits after an odd last one are 0. */
function packHighFirst(name: string, codes: CodeArray): Uint8Array {
  const bad = codes.findIndex((code) => code < 0 || code > 15);
  if (bad >= 0) refuse('RANGE', WHERE, name, `code ${codes[bad]} at element ${bad} does not fit in 4 bits`);
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0, at = 0; i < codes.length; i += 2, at++) bytes[at] = ((codes[i] as number) << 4) | (codes[i + 1] ?? 0);
  return bytes;
}

/** The type whose table the codes index. Throws `UNSUPPORTED` for other grids and for parts that have no place. */
function checkFourBit(name: string, weight: QuantizedTensor): 'nf4' | 'fp4' {
  const { grid } = weight.scheme;
  const { codebook, zeros, offsets, signs, groupIndex } = weight.parts;
  refuseSideParts(weight, WHERE);
  if (zeros ?? offsets ?? signs ?? groupIndex) {
    refuse('UNSUPPORTED', WHERE, name, 'zeros, offsets, signs and group indices have no place in 4-bit weights');
  }
  const values = codebook && contiguousData(codebook);
  if (grid.type === 'lookup' && grid.vectorLength === 1 && grid.stages === 1 && values?.length === 16) {
    for (const type of ['nf4', 'fp4'] as const) {
      if (FOUR_BIT_VALUES[type].every((value, code) => Math.fround(value) === values[code])) return type;
    }
  }
  return refuse('UNSUPPORTED', WHERE, name, 'only the tables of nf4 and fp4 can be held; decode and quantize again');
}

/** The longest run of elements that lies in one row and has one scale. */
function scaleRun(name: string, { shape, scheme: { granularity } }: QuantizedTensor): number {
  const columns = Math.max(1, shape[shape.length - 1] ?? 1);
  const { type } = granularity;
  if (type === 'tensor' || (type === 'axis' && granularity.axis === 0 && shape.length === 2)) return columns;
  if (type === 'group' && granularity.axis === shape.length - 1) {
    return flatRun(Math.min(granularity.size, columns), columns);
  }
  return refuse('UNSUPPORTED', WHERE, name, 'scales must belong to the tensor, to rows, or to groups of a row');
}

/** One scale for each run, row after row. */
function spreadScales({ shape, scheme }: QuantizedTensor, scales: Float32Array, run: number, out: Float32Array): void {
  const { granularity } = scheme;
  if (granularity.type === 'tensor') {
    out.fill(scales[0] as number);
    return;
  }
  const columns = shape[shape.length - 1] as number;
  const size = granularity.type === 'group' ? Math.min(granularity.size, columns) : columns;
  const runsInRow = columns / run;
  const groups = Math.ceil(columns / size);
  for (let i = 0; i < out.length; i++) {
    const row = Math.floor(i / runsInRow);
    out[i] = scales[row * groups + Math.floor(((i % runsInRow) * run) / size)] as number;
  }
}

/** The parts of nested scales, where they are what bitsandbytes can hold: a table of 256 values and flat blocks. */
function nestedParts(
  scales: ParameterTensor | undefined,
  run: number,
  blockSize: number,
  own: unknown,
): Nested | undefined {
  if (scales?.kind !== 'quantized') return undefined;
  const { scheme, parts, shape } = scales;
  const { grid, granularity } = scheme;
  const map = parts.codebook && contiguousData(parts.codebook);
  const plain = grid.type === 'lookup' && grid.vectorLength === 1 && grid.stages === 1 && map?.length === 256;
  const side = parts.zeros ?? parts.signs ?? parts.groupIndex ?? parts.permutation ?? parts.channelScale;
  if (!plain || side || parts.outliers || parts.lowRank || (parts.globalScale ?? 1) !== 1) return undefined;
  const columns = shape[shape.length - 1] as number;
  if (granularity.type !== 'group' || granularity.axis !== shape.length - 1 || columns % granularity.size !== 0) {
    return undefined;
  }
  const absmax = runsToBlocks(Uint8Array.from(unpackCodes(parts.codes)), run, blockSize);
  const offsets = parts.offsets === undefined ? new Float32Array(1) : toFloat32(parts.offsets as Tensor);
  const offset = offsets[0] ?? 0;
  if (absmax === undefined || !Number.isFinite(offset) || offsets.some((each) => each !== offset)) return undefined;
  const nestedBlockSize = typeof own === 'number' && own > 0 && Number.isInteger(own) ? own : 256;
  const inner = parts.scales && toFloat32(parts.scales as Tensor);
  const nestedAbsmax = inner && runsToBlocks(inner, granularity.size, nestedBlockSize * (blockSize / run));
  if (nestedAbsmax === undefined) return undefined;
  return { absmax, nestedAbsmax, map, blockSize: nestedBlockSize, offset };
}

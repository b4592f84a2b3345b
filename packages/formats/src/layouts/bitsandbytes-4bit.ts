import {
  type Checkpoint,
  decode,
  elementCount,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type QuantizedTensor,
  type ReadOptions,
  type Scheme,
  type Shape,
  tensor,
} from '@halftone/tensor';
import { type BlockState, FOUR_BIT_VALUES, parseBlockState, STATE_MAX_BYTES } from './internal/bitsandbytes-state.js';
import { blocksToRuns, flatRun } from './internal/flat-blocks.js';
import { refuse } from './internal/refuse.js';
import { expectShape, inBatches, needPart, storedWeight } from './internal/weight-parts.js';

const WHERE = 'bitsandbytes';

const STATE_NAME = /^(.+)\.quant_state\.bitsandbytes__(nf4|fp4)$/s;

export function hasFourBitWeights(checkpoint: Checkpoint): boolean {
  for (const name of checkpoint.tensors.keys()) if (STATE_NAME.test(name)) return true;
  return false;
}

/** The scheme of a 4-bit weight whose rows have `columns` elements. */
function fourBitScheme(state: BlockState, columns: number): Scheme {
  const { quantType, blockSize, dtype, nested } = state;
  return {
    name: quantType,
    version: 1,
    grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 },
    granularity: { type: 'group', axis: state.shape.length - 1, size: flatRun(blockSize, columns) },
    params: { blockSize, dtype, ...(nested === undefined ? {} : { nestedBlockSize: nested.blockSize }) },
  };
}

/**
 * Weights quantized to NF4 or FP4.
 *
 * Blocks run over the flat tensor. Where they cross rows, the scales here are repeated for runs that lie in one row (see
 * flat-blocks): exact, and at most one float32 an element where rows have an odd length. Nested scales stay nested: codes of 8 bits,
 * `map[code] * nested_absmax + nested_offset`, in the float32 steps of bitsandbytes.
 */
export async function fourBitWeights(checkpoint: Checkpoint, options?: ReadOptions): Promise<LazyQuantizedTensor[]> {
  const states = [...checkpoint.tensors.values()].filter((stored) => STATE_NAME.test(stored.name));
  return inBatches(states, (stored) => fourBitWeight(checkpoint, stored, options));
}

async function fourBitWeight(
  checkpoint: Checkpoint,
  stored: LazyTensor,
  options?: ReadOptions,
): Promise<LazyQuantizedTensor> {
  const [, name = '', quantType = ''] = STATE_NAME.exec(stored.name) ?? [];
  if (stored.dtype !== 'u8' || stored.byteLength > STATE_MAX_BYTES) {
    refuse('FORMAT', WHERE, stored.name, `${stored.byteLength} bytes of ${stored.dtype} are not a quant_state`);
  }
  const state = parseBlockState((await stored.read(undefined, options)).bytes, stored.name);
  if (state.quantType !== quantType) refuse('FORMAT', WHERE, stored.name, `says quant_type ${state.quantType}`);
  const { shape, blockSize, nested } = state;
  const count = elementCount(shape, `${WHERE}: ${name}`);
  // The bytes of the codes may be labelled as any type (bnb_4bit_quant_storage).
  const packed = checkpoint.tensors.get(name) ?? refuse('FORMAT', WHERE, name, 'the file has no such tensor');
  if (packed.byteLength !== Math.ceil(count / 2)) {
    refuse('FORMAT', WHERE, name, `${packed.byteLength} bytes do not hold the 4-bit codes of shape [${shape}]`);
  }
  const part = (suffix: string, dtype: 'f32' | 'u8', length: number): LazyTensor => {
    const found = needPart(checkpoint, `${name}${suffix}`, [dtype], WHERE);
    expectShape(found, WHERE, [length]);
    return found;
  };
  const blocks = Math.ceil(count / blockSize);
  const scheme = fourBitScheme(state, shape[shape.length - 1] as number);
  return storedWeight({
    layout: WHERE,
    name,
    shape,
    scheme,
    parts: {
      packed,
      absmax: part('.absmax', nested === undefined ? 'f32' : 'u8', blocks),
      map: part('.quant_map', 'f32', 16),
      ...(nested === undefined
        ? {}
        : {
            nestedAbsmax: part('.nested_absmax', 'f32', Math.ceil(blocks / nested.blockSize)),
            nestedMap: part('.nested_quant_map', 'f32', 256),
          }),
    },
    settings: [stored],
    decode: (parts) => joinFourBit(name, state, scheme, parts),
  });
}

interface FourBitParts {
  readonly packed?: PackedTensor;
  readonly absmax?: PackedTensor;
  readonly map?: PackedTensor;
  readonly nestedAbsmax?: PackedTensor;
  readonly nestedMap?: PackedTensor;
}

function joinFourBit(
  name: string,
  state: BlockState,
  scheme: Scheme,
  { packed, absmax, map, nestedAbsmax, nestedMap }: FourBitParts,
): QuantizedTensor {
  const { shape, quantType, blockSize, nested } = state;
  const count = elementCount(shape);
  const codebook = decode(map as PackedTensor<'f32'>);
  if (!FOUR_BIT_VALUES[quantType].every((value, code) => Math.fround(value) === codebook[code])) {
    refuse(
      'UNSUPPORTED',
      WHERE,
      `${name}.quant_map`,
      `is not the table of ${quantType}, which its kernels have built in`,
    );
  }
  const run = (scheme.granularity as { readonly size: number }).size;
  const columns = shape[shape.length - 1] as number;
  const scaleShape = [...shape.slice(0, -1), Math.ceil(columns / run)];
  const runs = elementCount(scaleShape);
  const codes = unpackHighFirst((packed as PackedTensor).bytes, count);
  const parts = { codes: tensor(codes, shape), codebook: tensor(codebook, [16, 1]) };
  if (nested === undefined) {
    const scales = blocksToRuns(decode(absmax as PackedTensor<'f32'>), blockSize, run, runs);
    return { kind: 'quantized', shape, scheme, parts: { ...parts, scales: tensor(scales, scaleShape) } };
  }
  const scales = nestedScales({
    shape: scaleShape,
    codes: blocksToRuns((absmax as PackedTensor).bytes, blockSize, run, runs),
    // In units of the runs that have a scale here.
    blockSize: nested.blockSize * (blockSize / run),
    absmax: decode(nestedAbsmax as PackedTensor<'f32'>),
    map: decode(nestedMap as PackedTensor<'f32'>),
    offset: nested.offset,
  });
  return { kind: 'quantized', shape, scheme, parts: { ...parts, scales } };
}

function nestedScales(scales: {
  readonly shape: Shape;
  readonly codes: Uint8Array;
  readonly blockSize: number;
  readonly absmax: Float32Array;
  readonly map: Float32Array;
  readonly offset: number;
}): QuantizedTensor {
  const { shape, codes, blockSize, absmax, map, offset } = scales;
  const columns = shape[shape.length - 1] as number;
  const run = flatRun(blockSize, columns);
  const runShape = [...shape.slice(0, -1), Math.ceil(columns / run)];
  const runs = elementCount(runShape);
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: 'lookup',
      version: 1,
      grid: { type: 'lookup', bits: 8, vectorLength: 1, stages: 1 },
      granularity: { type: 'group', axis: shape.length - 1, size: run },
    },
    parts: {
      codes: tensor(codes, shape),
      codebook: tensor(map, [256, 1]),
      scales: tensor(blocksToRuns(absmax, blockSize, run, runs), runShape),
      offsets: tensor(new Float32Array(runs).fill(offset), runShape),
    },
  };
}

function unpackHighFirst(bytes: Uint8Array, count: number): Uint8Array {
  const codes = new Uint8Array(count);
  for (let i = 0, at = 0; i < count; i += 2, at++) {
    const byte = bytes[at] as number;
    codes[i] = byte >>> 4;
    // Beyond the end for an odd count: typed arrays drop it.
    codes[i + 1] = byte & 15;
  }
  return codes;
}

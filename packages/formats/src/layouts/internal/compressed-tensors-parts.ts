/** The tensors that every kind of compressed-tensors layer has beside its codes. */
import {
  type Checkpoint,
  type DType,
  type Granularity,
  HalftoneError,
  type LazyTensor,
  nativeData,
  type PackedTensor,
  type Shape,
} from '@halftone/tensor';
import type { CompressedWeights } from './compressed-tensors-config.js';
import type { WordPacking } from './packed-words.js';
import { expectShape, findPart, needPart } from './weight-parts.js';

export const WHERE = 'compressed-tensors';
export const SCALE_TYPES = ['bf16', 'f16', 'f32'] as const;

export interface CompressedLayer {
  readonly checkpoint: Checkpoint;
  /** `model.layers.0.mlp.up_proj` */
  readonly module: string;
  readonly settings: CompressedWeights;
  /** Of codes whose width does not divide 32, where the file leaves it open. */
  readonly packing: WordPacking;
}

/** `weight_scale`, whose shape must be that of the strategy. */
export function scalePart<T extends DType>(
  { checkpoint, module, settings }: CompressedLayer,
  [rows, columns]: readonly [number, number],
  types: readonly T[],
): { granularity: Granularity; scales: LazyTensor<T> } {
  const scales = needPart(checkpoint, `${module}.weight_scale`, types, WHERE);
  const {
    strategy,
    groupSize,
    block: [blockRows, blockColumns],
  } = settings;
  const shapes: Record<CompressedWeights['strategy'], Shape[]> = {
    tensor: [[1], [], [1, 1]],
    channel: [[rows, 1], [rows]],
    group: [[rows, Math.ceil(columns / groupSize)]],
    block: [[Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)]],
  };
  expectShape(scales, WHERE, ...shapes[strategy]);
  const granularities: Record<CompressedWeights['strategy'], Granularity> = {
    tensor: { type: 'tensor' },
    channel: { type: 'axis', axis: 0 },
    group: { type: 'group', axis: 1, size: groupSize },
    block: { type: 'block', rows: blockRows, columns: blockColumns },
  };
  return { granularity: granularities[strategy], scales };
}

export function groupIndexPart(
  { checkpoint, module, settings }: CompressedLayer,
  columns: number,
): LazyTensor | undefined {
  if (settings.strategy !== 'group') return undefined;
  const indices = findPart(checkpoint, `${module}.weight_g_idx`, ['i32'], WHERE);
  if (indices !== undefined) expectShape(indices, WHERE, [columns]);
  return indices;
}

/**
 * Undefined where every column is in the group of its place, and where a -1 says that the indices were never set.
 * The runtime sorts the columns and cuts them into groups of equal size, so indices must give such groups.
 */
export function readGroupIndex(
  part: PackedTensor | undefined,
  { module, settings: { groupSize } }: CompressedLayer,
  columns: number,
  groups: number,
): Uint32Array | undefined {
  if (part === undefined) return undefined;
  const indices = nativeData(part as PackedTensor<'i32'>);
  if (indices.includes(-1)) return undefined;
  const counts = new Uint32Array(groups);
  for (const [column, group] of indices.entries()) {
    if (group < 0 || group >= groups) {
      fail(
        'RANGE',
        `${module}.weight_g_idx: column ${column} is in group ${group}, but the groups are 0 .. ${groups - 1}`,
      );
    }
    counts[group] = (counts[group] as number) + 1;
  }
  const uneven = counts.findIndex((count, group) => count !== Math.min(groupSize, columns - group * groupSize));
  if (uneven >= 0)
    fail('FORMAT', `${module}.weight_g_idx: group ${uneven} has ${counts[uneven]} columns, not ${groupSize}`);
  return indices.every((group, column) => group === Math.floor(column / groupSize))
    ? undefined
    : Uint32Array.from(indices);
}

export function fail(
  code: 'FORMAT' | 'RANGE' | 'UNSUPPORTED',
  message: string,
  details?: Record<string, unknown>,
): never {
  throw new HalftoneError(code, message, { where: WHERE, ...(details === undefined ? {} : { details }) });
}

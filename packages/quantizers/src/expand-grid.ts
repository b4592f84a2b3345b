import { HalftoneError } from '@halftone/tensor';
import type { FrozenGrid } from './grid-quantizer.js';
import { columnsPerGroup, parameterValues } from './internal/groups.js';

/** A frozen affine grid with one step and one base for each group: `value = step * code + base`. */
export interface ExpandedGrid {
  readonly rows: number;
  readonly columns: number;
  readonly signed: boolean;
  readonly minCode: number;
  readonly maxCode: number;
  /** Columns that share a step; the last group of a row may be shorter. */
  readonly groupSize: number;
  readonly groupsPerRow: number;
  /** `[rows, groupsPerRow]` */
  readonly steps: Float64Array;
  /** `[rows, groupsPerRow]` */
  readonly bases: Float64Array;
}

/**
 * Decodes the scales, zeros and offsets of an affine grid (ggml's two-level ones included) so that a rounder sees one form.
 * Throws `UNSUPPORTED` for other grids, for groups along axis 0 and for `groupIndex`.
 */
export function expandGrid(grid: FrozenGrid): ExpandedGrid {
  const { scheme, shape, parts } = grid;
  const where = 'expandGrid';
  if (scheme.grid.type !== 'affine' || parts.groupIndex !== undefined || shape.length !== 2) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `scheme ${scheme.name} is not an affine grid with groups along the rows of a matrix`,
      {
        where,
        details: { scheme: scheme.name },
      },
    );
  }
  const [rows, columns] = shape as readonly [number, number];
  const { bits, signed } = scheme.grid;
  const groupSize = columnsPerGroup(scheme.granularity, columns, scheme.name);
  const groupsPerRow = columns === 0 ? 0 : Math.ceil(columns / groupSize);
  const count = rows * groupsPerRow;
  const scales = parameterValues(parts.scales, scheme.granularity.type === 'tensor', count, 1);
  const zeros = parameterValues(parts.zeros, scheme.granularity.type === 'tensor', count, 0);
  const offsets = parameterValues(parts.offsets, scheme.granularity.type === 'tensor', count, 0);
  const steps = new Float64Array(count);
  const bases = new Float64Array(count);
  const factor = parts.globalScale ?? 1;
  for (let i = 0; i < count; i++) {
    const step = scales[i] * factor;
    steps[i] = step;
    bases[i] = offsets[i] - step * zeros[i];
  }
  const half = 2 ** (bits - 1);
  const restricted = scheme.params?.restrictedRange === true;
  return {
    rows,
    columns,
    signed,
    minCode: signed ? (restricted ? 1 - half : -half) : 0,
    maxCode: signed ? half - 1 : 2 * half - 1,
    groupSize,
    groupsPerRow,
    steps,
    bases,
  };
}

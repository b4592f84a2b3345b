import {
  HalftoneError,
  type QuantizeContext,
  type QuantizedTensor,
  sameShape,
  type Tensor,
  tensor,
} from '@halftone/tensor';
import { ROUNDING_MAGIC } from './affine-rule.js';
import { type ExpandedGrid, expandGrid } from './expand-grid.js';
import type { FrozenGrid } from './grid-quantizer.js';
import { weightRows } from './internal/weight.js';

/**
 * Rounds each weight to the nearest value of a frozen affine grid, ties to the even code. One pass, O(out * in).
 * Throws `SHAPE` when weight and grid differ, `NUMERIC` for a weight that is not finite.
 */
export function roundNearest(
  weight: Tensor<Float32Array>,
  grid: FrozenGrid,
  context: QuantizeContext,
): QuantizedTensor {
  if (!sameShape(weight.shape, grid.shape)) {
    throw new HalftoneError(
      'SHAPE',
      `${context.name}: the weight is [${weight.shape}] but the grid was fitted to [${grid.shape}]`,
      {
        where: 'roundNearest',
        details: { tensor: context.name, weight: weight.shape, grid: grid.shape },
      },
    );
  }
  const { data } = weightRows(weight, context, 'roundNearest');
  return withCodes(grid, nearestCodes(data, expandGrid(grid)));
}

/** Joins codes (one byte each, two's complement where signed) to a frozen grid. */
export function withCodes(grid: FrozenGrid, codes: Uint8Array): QuantizedTensor {
  const signed = grid.scheme.grid.type === 'affine' && grid.scheme.grid.signed;
  const typed = signed ? new Int8Array(codes.buffer, codes.byteOffset, codes.length) : codes;
  return {
    kind: 'quantized',
    shape: grid.shape,
    scheme: grid.scheme,
    parts: { ...grid.parts, codes: tensor(typed, grid.shape) },
  };
}

/** Codes of contiguous rows as bytes. */
export function nearestCodes(values: Float32Array, grid: ExpandedGrid): Uint8Array {
  const codes = new Uint8Array(values.length);
  for (let row = 0; row < grid.rows; row++) roundRow(values, grid, row, codes);
  return codes;
}

function roundRow(values: Float32Array, grid: ExpandedGrid, row: number, codes: Uint8Array): void {
  const { columns, groupSize, groupsPerRow, steps, bases, minCode, maxCode } = grid;
  const first = row * columns;
  const last = first + columns;
  let start = first;
  for (let group = row * groupsPerRow; start < last; group++, start += groupSize) {
    const step = steps[group];
    const base = bases[group];
    const inverse = step === 0 ? 0 : 1 / step;
    const end = start + groupSize < last ? start + groupSize : last;
    for (let i = start; i < end; i++) {
      let code = (values[i] - base) * inverse;
      code = code < minCode ? minCode : code > maxCode ? maxCode : code;
      codes[i] = code + ROUNDING_MAGIC - ROUNDING_MAGIC;
    }
  }
}

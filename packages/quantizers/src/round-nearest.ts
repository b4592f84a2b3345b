import {
  HalftoneError,
  type QuantizeContext,
  type QuantizedTensor,
  sameShape,
  type Tensor,
  tensor,
} from '@halftone/tensor';
import { ggmlTypeOf } from '@halftone/tensor/ggml';
import { ROUNDING_MAGIC } from './affine-rule.js';
import { type ExpandedGrid, expandGrid } from './expand-grid.js';
import { expandTable, nearestTableCodes } from './expand-table.js';
import { chooseLatticeCodes } from './ggml/lattice.js';
import { isLatticeType, LATTICE_RULES } from './ggml/lattice-types.js';
import type { FrozenGrid } from './grid-quantizer.js';
import { latticeGroup } from './internal/lattice-group.js';
import { type WeightRows, weightRows } from './internal/weight.js';

/**
 * Rounds each weight to the nearest value of a frozen grid; on a lattice each vector of weights to the nearest vector that its
 * type can store. One pass, O(out * in). Ties go to the even code of affine grids and to the larger entry of tables.
 * Throws `SHAPE` when weight and grid differ, `NUMERIC` for a weight that is not finite, `UNSUPPORTED` for grids of vectors that
 * are not ggml's.
 */
export function roundNearest(
  weight: Tensor<Float32Array>,
  grid: FrozenGrid,
  context: QuantizeContext,
): QuantizedTensor {
  const rows = gridRows(weight, grid, context);
  if (grid.scheme.grid.type === 'affine') return withCodes(grid, nearestCodes(rows.data, expandGrid(grid)));
  const type = ggmlTypeOf(grid.scheme);
  if (type === undefined || !isLatticeType(type))
    return withCodes(grid, nearestTableCodes(rows.data, expandTable(grid)));
  const { codes, signs } = chooseLatticeCodes(rows, type, latticeGroup(LATTICE_RULES[type]), grid, 'equal');
  return withCodes(grid, codes, signs);
}

/** The rows of a weight that a grid was fitted to. Throws `SHAPE` when the shapes differ. */
export function gridRows(weight: Tensor<Float32Array>, grid: FrozenGrid, context: QuantizeContext): WeightRows {
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
  return weightRows(weight, context, 'roundNearest');
}

/** Joins codes (two's complement where signed) and signs, one byte for each element, to a frozen grid. */
export function withCodes(grid: FrozenGrid, codes: Uint8Array | Uint16Array, signs?: Uint8Array): QuantizedTensor {
  const { shape, scheme, parts } = grid;
  const signed = scheme.grid.type === 'affine' && scheme.grid.signed;
  const typed = signed ? new Int8Array(codes.buffer, codes.byteOffset, codes.length) : codes;
  const length = scheme.grid.type === 'lookup' ? scheme.grid.vectorLength : 1;
  const codesShape = shape.map((n, axis) => (axis === shape.length - 1 ? n / length : n));
  return {
    kind: 'quantized',
    shape,
    scheme,
    parts: { ...parts, codes: tensor(typed, codesShape), ...(signs && { signs: tensor(signs, shape) }) },
  };
}

/** Codes of contiguous rows on an affine grid as bytes. */
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

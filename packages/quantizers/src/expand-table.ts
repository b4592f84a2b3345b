import { contiguousData, dequantize, HalftoneError, type Tensor, tensor } from '@halftone/tensor';
import type { FrozenGrid } from './grid-quantizer.js';
import { columnsPerGroup, parameterValues } from './internal/groups.js';

/** A frozen grid whose codes stand for the values of a table, with one step for each group: `value = step * table[code]`. */
export interface ExpandedTable {
  readonly rows: number;
  readonly columns: number;
  /** The value of each code. Codes of float grids that are not finite are there too. */
  readonly table: Float32Array;
  /** Columns that share a step; the last group of a row may be shorter. */
  readonly groupSize: number;
  readonly groupsPerRow: number;
  /** `[rows, groupsPerRow]` */
  readonly steps: Float64Array;
}

/**
 * Decodes the scales and the table of a float grid, or of a lookup grid of single values, so that a rounder sees one form.
 * Throws `UNSUPPORTED` for other grids, for groups along axis 0 and for `groupIndex`.
 */
export function expandTable(grid: FrozenGrid): ExpandedTable {
  const { scheme, shape, parts } = grid;
  const scalar =
    scheme.grid.type === 'float' ||
    (scheme.grid.type === 'lookup' && scheme.grid.vectorLength === 1 && scheme.grid.stages === 1 && !scheme.grid.signs);
  if (!scalar || parts.groupIndex !== undefined || shape.length !== 2) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `scheme ${scheme.name} is not a table of single values with groups along the rows of a matrix`,
      { where: 'expandTable', details: { scheme: scheme.name } },
    );
  }
  const [rows, columns] = shape as readonly [number, number];
  const groupSize = columnsPerGroup(scheme.granularity, columns, scheme.name);
  const groupsPerRow = columns === 0 ? 0 : Math.ceil(columns / groupSize);
  const scales = parameterValues(parts.scales, scheme.granularity.type === 'tensor', rows * groupsPerRow, 1);
  const factor = parts.globalScale ?? 1;
  return {
    rows,
    columns,
    table: codeValues(grid),
    groupSize,
    groupsPerRow,
    steps: Float64Array.from(scales, (scale) => Math.fround(scale * factor)),
  };
}

function codeValues({ scheme, parts }: FrozenGrid): Float32Array {
  if (scheme.grid.type !== 'float') return contiguousData(parts.codebook as Tensor<Float32Array>);
  const count = 2 ** (1 + scheme.grid.exponent + scheme.grid.mantissa);
  const codes = tensor(
    Uint16Array.from({ length: count }, (_, code) => code),
    [count],
  );
  const granularity = { type: 'tensor' } as const;
  return dequantize({ kind: 'quantized', shape: [count], scheme: { ...scheme, granularity }, parts: { codes } });
}

/** Cells that the range of a table is cut into: each knows the first entry that may be nearest. */
const CELLS = 256;

/** Codes of contiguous rows as bytes, halves to the larger entry. Throws `UNSUPPORTED` for tables of more than 256 codes. */
export function nearestTableCodes(values: Float32Array, grid: ExpandedTable): Uint8Array {
  const { rows, columns, table, groupSize, groupsPerRow, steps } = grid;
  if (table.length > 256) {
    throw new HalftoneError('UNSUPPORTED', `a table of ${table.length} codes does not fit bytes`, {
      where: 'nearestTableCodes',
    });
  }
  const { codes: codeAt, entries } = risingEntries(table);
  const last = entries.length - 1;
  const midpoints = Float64Array.from({ length: last }, (_, i) => (entries[i] + entries[i + 1]) / 2);
  const lowest = entries[0];
  const cellsPerUnit = last === 0 ? 0 : CELLS / (entries[last] - lowest);
  const firstOfCell = Uint8Array.from({ length: CELLS + 1 }, (_, cell) => {
    const beyond = midpoints.findIndex((midpoint) => midpoint > lowest + (cell - 0.5) / cellsPerUnit);
    return beyond < 0 ? last : beyond;
  });
  const codes = new Uint8Array(values.length);
  for (let row = 0; row < rows; row++) {
    const end = (row + 1) * columns;
    for (let start = row * columns, group = row * groupsPerRow; start < end; start += groupSize, group++) {
      const inverse = steps[group] === 0 ? 0 : 1 / steps[group];
      const stop = start + groupSize < end ? start + groupSize : end;
      for (let i = start; i < stop; i++) {
        const value = values[i] * inverse;
        const cell = (value - lowest) * cellsPerUnit;
        let entry = firstOfCell[cell < 0 ? 0 : cell > CELLS ? CELLS : cell | 0];
        while (entry < last && value >= midpoints[entry]) entry++;
        codes[i] = codeAt[entry];
      }
    }
  }
  return codes;
}

/** The finite values of a table in rising order, each once, with the lowest code that has it. */
function risingEntries(table: Float32Array): { readonly codes: Uint8Array; readonly entries: Float64Array } {
  const order = [...table.keys()].filter((code) => Number.isFinite(table[code]));
  order.sort((a, b) => table[a] - table[b] || a - b);
  const codes = order.filter((code, i) => i === 0 || table[code] !== table[order[i - 1]]);
  return { codes: Uint8Array.from(codes), entries: Float64Array.from(codes, (code) => table[code]) };
}

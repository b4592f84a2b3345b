/** Lookup tables of any length as grids of codes that fit 16 bits: for layouts whose vectors or tables do not run along a row. */

import { type Codes, HalftoneError, type Scheme, type Tensor, tensor } from '@halftone/tensor';
import { allocateBytes } from '../../internal/byte-range.js';

const LARGEST_TABLE = 65_536;
const MAX_STAGES = 16;

type LookupGrid = Extract<Scheme['grid'], { readonly type: 'lookup' }>;

export interface WideLookup {
  readonly codes: Codes;
  readonly codebook: Tensor<Float32Array>;
}

/** Stages that a table takes: a longer one is cut, and every piece but the one with the code adds -0, which changes nothing. */
function stagesOf(entries: number): number {
  return entries <= LARGEST_TABLE ? 1 : Math.ceil(entries / (LARGEST_TABLE - 1));
}

/**
 * The grid of weights whose elements are sums of single values, one from each of several tables with so many entries.
 * Throws `UNSUPPORTED` above 16 stages.
 */
export function wideLookupGrid(entries: readonly number[], name: string, where: string): LookupGrid {
  const stages = entries.reduce((sum, count) => sum + stagesOf(count), 0);
  if (stages > MAX_STAGES) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${name}: tables of ${entries.join(' and ')} values take ${stages} stages of 16-bit codes, at most ${MAX_STAGES} are read`,
      { where, details: { name, entries } },
    );
  }
  const longest = Math.min(LARGEST_TABLE, Math.max(2, ...entries));
  return { type: 'lookup', bits: Math.ceil(Math.log2(longest)), vectorLength: 1, stages };
}

/**
 * Codes and codebook for `wideLookupGrid` of the same tables. `fillRow(row, codes)` writes the indices of one row into each table,
 * `[columns]` each, which must be below its length. Takes two bytes an element and stage; throws
 * `RANGE` where the engine has no room for them.
 */
export function wideLookup(
  grid: LookupGrid,
  shape: readonly [number, number],
  tables: readonly Float32Array[],
  fillRow: (row: number, codes: readonly Uint32Array[]) => void,
  name: string,
  where: string,
): WideLookup {
  const [rows, columns] = shape;
  const { stages } = grid;
  const entries = Math.min(LARGEST_TABLE, 2 ** grid.bits);
  const count = rows * columns;
  const codebook = new Float32Array(stages * entries).fill(-0);
  const bytes = allocateBytes(stages * count * (entries > 256 ? 2 : 1), where, name);
  const codes = entries > 256 ? new Uint16Array(bytes.buffer) : bytes;
  let first = 0;
  const pieces = tables.map((table) => {
    const size = stagesOf(table.length) === 1 ? entries : LARGEST_TABLE - 1;
    const [from, piecesOfTable] = [first, stagesOf(table.length)];
    for (let piece = 0; piece < piecesOfTable; piece++) {
      codebook.set(table.subarray(piece * size, (piece + 1) * size), (from + piece) * entries);
    }
    first += piecesOfTable;
    return { from, size, count: piecesOfTable };
  });
  const rowCodes = tables.map(() => new Uint32Array(columns));
  for (let row = 0; row < rows; row++) {
    fillRow(row, rowCodes);
    for (const [t, { from, size, count: piecesOfTable }] of pieces.entries()) {
      const indices = rowCodes[t] as Uint32Array;
      for (let piece = 0; piece < piecesOfTable; piece++) {
        const start = (from + piece) * count + row * columns;
        for (let column = 0; column < columns; column++) {
          const local = (indices[column] as number) - piece * size;
          codes[start + column] = local >= 0 && local < size ? local : LARGEST_TABLE - 1;
        }
      }
    }
  }
  const codesShape = stages > 1 ? [stages, rows, columns] : [rows, columns];
  return { codes: tensor(codes, codesShape), codebook: tensor(codebook, [stages * entries]) };
}

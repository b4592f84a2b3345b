import { HalftoneError } from '@halftone/tensor';

/** Throws `SHAPE` unless both are whole numbers, `rows` from 0 and `features` from 1. */
export function checkRows(where: string, rows: number, features: number): void {
  if (Number.isSafeInteger(rows) && rows >= 0 && Number.isSafeInteger(features) && features >= 1) return;
  throw new HalftoneError('SHAPE', `there cannot be ${rows} rows of ${features} values`, {
    where,
    details: { rows, features },
  });
}

/** Throws `SHAPE` unless an array has at least `needed` values. */
export function checkLength(where: string, name: string, length: number, needed: number): void {
  if (length >= needed) return;
  throw new HalftoneError('SHAPE', `${name} has ${length} values where ${needed} are needed`, {
    where,
    details: { [name]: length, needed },
  });
}

export function checkNorm(
  where: string,
  x: Float32Array,
  rows: number,
  features: number,
  gain: Float32Array,
  bias: Float32Array | undefined,
  out: Float32Array,
): void {
  checkRows(where, rows, features);
  checkLength(where, 'x', x.length, rows * features);
  checkLength(where, 'out', out.length, rows * features);
  checkParameter(where, 'gain', gain.length, features);
  if (bias !== undefined) checkParameter(where, 'bias', bias.length, features);
}

function checkParameter(where: string, name: string, length: number, features: number): void {
  if (length === features) return;
  throw new HalftoneError('SHAPE', `${name} has ${length} values for ${features} features`, {
    where,
    details: { [name]: length, features },
  });
}

/** Throws `SHAPE` where arrays do not fit, `RANGE` for an index outside the tables. */
export function checkRotation(
  where: string,
  x: Float32Array,
  rowIndex: Int32Array,
  heads: number,
  pairs: number,
  cosines: Float32Array,
  sines: Float32Array,
): void {
  checkRows(where, heads, pairs);
  checkLength(where, 'x', x.length, rowIndex.length * heads * 2 * pairs);
  const tableRows = Math.floor(Math.min(cosines.length, sines.length) / pairs);
  for (let row = 0; row < rowIndex.length; row++) {
    const index = rowIndex[row];
    if (index >= 0 && index < tableRows) continue;
    throw new HalftoneError('RANGE', `row ${row} turns by row ${index} of tables that have ${tableRows} rows`, {
      where,
      details: { row, index, tableRows },
    });
  }
}

/** Throws `SHAPE` unless `length` values are there, `UNSUPPORTED` for an unknown activation. */
export function checkActivation(name: string, x: Float32Array, length: number, factor: Float32Array | undefined): void {
  if (name !== 'silu' && name !== 'gelu' && name !== 'gelu_tanh') {
    throw new HalftoneError('UNSUPPORTED', `activation ${name} is unknown; use silu, gelu or gelu_tanh`, {
      where: 'activate',
      details: { name },
    });
  }
  checkRows('activate', length, 1);
  checkLength('activate', 'x', x.length, length);
  if (factor !== undefined) checkLength('activate', 'factor', factor.length, length);
}

export function checkAddition(x: Float32Array, y: Float32Array, length: number): void {
  checkRows('add', length, 1);
  checkLength('add', 'x', x.length, length);
  checkLength('add', 'y', y.length, length);
}

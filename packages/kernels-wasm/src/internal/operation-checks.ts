import { HalftoneError } from '@halftone/tensor';
import { type HadamardOrder, hadamardFactors } from './hadamard-matrix.js';
import { BLOCK } from './layout.js';

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

export function checkSoftmax(x: Float32Array, rows: number, features: number, out: Float32Array): void {
  checkRows('softmax', rows, features);
  checkLength('softmax', 'x', x.length, rows * features);
  checkLength('softmax', 'out', out.length, rows * features);
}

/** Throws `SHAPE` where values are missing or a row is not blocks of `size`, `UNSUPPORTED` for a size without a matrix. */
export function checkWalshHadamard(
  x: Float32Array,
  rows: number,
  features: number,
  size: number,
): { readonly order: HadamardOrder; readonly exponent: number } {
  const where = 'walshHadamard';
  checkRows(where, rows, features);
  checkLength(where, 'x', x.length, rows * features);
  if (!(Number.isSafeInteger(size) && size >= 1 && features % size === 0)) {
    throw new HalftoneError('SHAPE', `rows of ${features} values do not divide into blocks of ${size}`, {
      where,
      details: { features, size },
    });
  }
  const factors = hadamardFactors(size);
  if (factors !== undefined) return factors;
  throw new HalftoneError(
    'UNSUPPORTED',
    `size ${size} is not 1, 12, 20 or 28 times a power of two; use smaller blocks`,
    {
      where,
      details: { size },
    },
  );
}

/** Throws `RANGE` unless `k` is a whole number from 1 to the number of values. */
export function checkSelection(where: string, x: Float32Array, k: number): void {
  if (Number.isSafeInteger(k) && k >= 1 && k <= x.length) return;
  throw new HalftoneError('RANGE', `the ${k} largest of ${x.length} values cannot be had`, {
    where,
    details: { k, length: x.length },
  });
}

export function checkTopK(x: Float32Array, k: number, values: Float32Array, indices: Int32Array): void {
  checkSelection('topK', x, k);
  checkLength('topK', 'values', values.length, k);
  checkLength('topK', 'indices', indices.length, k);
}

export function notANumber(where: string, x: Float32Array): HalftoneError {
  const index = x.findIndex(Number.isNaN);
  return new HalftoneError('NUMERIC', `value ${index} is NaN; values with NaN have no order`, {
    where,
    details: { index },
  });
}

export function checkQuantization(
  x: Float32Array,
  rows: number,
  features: number,
  codes: Int8Array,
  scales: Float32Array,
): void {
  checkRows('quantize', rows, features);
  checkLength('quantize', 'x', x.length, rows * features);
  checkLength('quantize', 'codes', codes.length, rows * features);
  checkLength('quantize', 'scales', scales.length, rows * Math.ceil(features / BLOCK));
}

import { HalftoneError } from '@halftone/tensor';
import type { BatchedGemm, TriangularSystem } from '../../linear-algebra.js';
import type { FloatArray } from './operands.js';

/** Throws `SHAPE` unless these are counts. */
export function checkSizes(where: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (Number.isSafeInteger(size) && size >= 0) continue;
    throw new HalftoneError('SHAPE', `${name} is ${size}; it must be a whole number from 0 up`, {
      where,
      details: sizes,
    });
  }
}

/** Throws `SHAPE` unless the array holds just a `[rows, columns]` matrix. */
export function checkMatrix(where: string, name: string, array: FloatArray, rows: number, columns: number): void {
  if (array.length === rows * columns) return;
  throw new HalftoneError('SHAPE', `${name} has ${array.length} elements; it must be [${rows}, ${columns}]`, {
    where,
    details: { length: array.length, rows, columns },
  });
}

function checkSquare(where: string, name: string, array: FloatArray, n: number): void {
  checkSizes(where, { n });
  checkMatrix(where, name, array, n, n);
}

/** Throws `DTYPE` unless all arrays are of one type. */
export function checkOneType(where: string, ...arrays: readonly FloatArray[]): void {
  if (arrays.every((array) => array.BYTES_PER_ELEMENT === arrays[0].BYTES_PER_ELEMENT)) return;
  throw new HalftoneError('DTYPE', 'all matrices must be Float32Array, or all Float64Array', { where });
}

/** Throws `RANGE` when what is written is also read. */
export function checkApart(where: string, name: string, written: FloatArray, ...read: readonly FloatArray[]): void {
  if (!read.some((array) => overlap(written, array))) return;
  throw new HalftoneError('RANGE', `${name} overlaps an operand; give it memory of its own`, { where });
}

/** As `checkApart`, but they may be the same. */
function checkApartOrSame(where: string, name: string, written: FloatArray, read: FloatArray): void {
  if (written.buffer === read.buffer && written.byteOffset === read.byteOffset) return;
  checkApart(where, name, written, read);
}

function overlap(a: FloatArray, b: FloatArray): boolean {
  return (
    a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength
  );
}

export type Strides = Required<
  Pick<BatchedGemm, 'strideA' | 'strideB' | 'strideC' | 'rowStrideA' | 'rowStrideB' | 'rowStrideC'>
>;

/** The strides of a product, checked against the arrays. */
export function checkedStrides(
  where: string,
  product: BatchedGemm,
  a: FloatArray,
  b: FloatArray,
  c: FloatArray,
): Strides {
  const { m, n, k, count, transposeA = false, transposeB = false } = product;
  checkSizes(where, { m, n, k, count });
  const [rowsA, columnsA] = transposeA ? [k, m] : [m, k];
  const [rowsB, columnsB] = transposeB ? [n, k] : [k, n];
  const { rowStrideA = columnsA, rowStrideB = columnsB, rowStrideC = n } = product;
  const { strideA = rowsA * rowStrideA, strideB = rowsB * rowStrideB, strideC = m * rowStrideC } = product;
  const strides = { strideA, strideB, strideC, rowStrideA, rowStrideB, rowStrideC };
  checkSizes(where, strides);
  checkExtent(where, 'a', a, count, rowsA, columnsA, rowStrideA, strideA);
  checkExtent(where, 'b', b, count, rowsB, columnsB, rowStrideB, strideB);
  checkExtent(where, 'c', c, count, m, n, rowStrideC, strideC);
  const interleaved = strideC >= n && (count - 1) * strideC + n <= rowStrideC;
  if (count > 1 && m * n > 0 && strideC < (m - 1) * rowStrideC + n && !interleaved) {
    throw new HalftoneError('RANGE', `products overlap in c: strideC is ${strideC}`, { where, details: strides });
  }
  return strides;
}

function checkExtent(
  where: string,
  name: string,
  array: FloatArray,
  count: number,
  rows: number,
  columns: number,
  rowStride: number,
  stride: number,
): void {
  if (rowStride < columns && rows > 1) {
    throw new HalftoneError('RANGE', `rows of ${name} overlap; they start every ${rowStride} of ${columns} elements`, {
      where,
      details: { columns, rowStride },
    });
  }
  const dense = rowStride === columns && (count === 1 || stride === rows * columns);
  const extent = count * rows * columns === 0 ? 0 : (count - 1) * stride + (rows - 1) * rowStride + columns;
  if (dense ? array.length === extent : array.length >= extent) return;
  const message = `${name} has ${array.length} elements; ${count} x [${rows}, ${columns}] takes ${extent}`;
  throw new HalftoneError('SHAPE', message, {
    where,
    details: { length: array.length, count, rows, columns, rowStride, stride },
  });
}

export function checkSystem(where: string, system: TriangularSystem, t: FloatArray, b: FloatArray): void {
  const { n, vectors, side = 'left' } = system;
  checkSizes(where, { n, vectors });
  checkOneType(where, t, b);
  checkMatrix(where, 't', t, n, n);
  if (side === 'left') checkMatrix(where, 'b', b, n, vectors);
  else checkMatrix(where, 'b', b, vectors, n);
  checkApart(where, 'b', b, t);
}

/** For a matrix whose factor or inverse goes to `out`. */
export function checkTransformed(where: string, a: FloatArray, n: number, out: FloatArray): void {
  checkSquare(where, 'the matrix', a, n);
  checkSquare(where, 'out', out, n);
  checkOneType(where, a, out);
  checkApartOrSame(where, 'out', out, a);
}

import { HalftoneError, type LazyTensor, type ReadIntoOptions, type RowRange, rowByteLength } from '@halftone/tensor';
import { destination } from '../internal/byte-range.js';

const WHERE = 'gguf-model';

/**
 * Reorders the rows of a query or key projection from Hugging Face's rotary order (a head's first halves, then its
 * second halves) to GGUF's (first and second halves interleaved), or back with `inverse`. `rows` is any row-major
 * matrix, or a bias with `rowBytes` the size of one element; rows move whole, so packed blocks stay intact.
 * Returns a copy. Throws `SHAPE` when the rows are not `heads` heads of an even size.
 * Source: llama.cpp, convert_hf_to_gguf.py, `LlamaModel.permute`.
 */
export function permuteHeadRows(rows: Uint8Array, rowBytes: number, heads: number, inverse = false): Uint8Array {
  const count = rows.length / rowBytes;
  const headRows = rowsOfHead(count, heads, 'rows');
  const out = new Uint8Array(rows.length);
  for (let row = 0; row < count; row++) {
    const from = sourceRow(row, headRows, inverse) * rowBytes;
    out.set(rows.subarray(from, from + rowBytes), row * rowBytes);
  }
  return out;
}

/**
 * The same reordering on a tensor that is still in its file. A read of rows `[start, end)` reads the heads that these
 * rows belong to, at most two heads more than asked for.
 */
export function permuteRowsLazy<T extends LazyTensor>(lazy: T, heads: number, inverse = false): T {
  const rowCount = lazy.shape[0] ?? 1;
  const headRows = rowsOfHead(rowCount, heads, lazy.name);
  const rowBytes = rowByteLength(
    lazy.dtype,
    lazy.shape.slice(1).reduce((a, b) => a * b, 1),
  );
  const read = async (rows: RowRange = { start: 0, end: rowCount }, options?: ReadIntoOptions) => {
    if (!(rows.start >= 0 && rows.start <= rows.end && rows.end <= rowCount)) {
      throw new HalftoneError('RANGE', `${lazy.name}: rows ${rows.start} to ${rows.end} are outside 0 to ${rowCount}`, {
        where: WHERE,
        details: { tensor: lazy.name, rows, rowCount },
      });
    }
    const first = Math.floor(rows.start / headRows) * headRows;
    const last = Math.ceil(rows.end / headRows) * headRows;
    const bytes = destination(options, (rows.end - rows.start) * rowBytes, WHERE, lazy.name);
    const source = await lazy.read({ start: first, end: Math.max(first, last) }, { signal: options?.signal });
    for (let row = rows.start; row < rows.end; row++) {
      const from = (sourceRow(row, headRows, inverse) - first) * rowBytes;
      bytes.set(source.bytes.subarray(from, from + rowBytes), (row - rows.start) * rowBytes);
    }
    return { ...source, shape: [rows.end - rows.start, ...lazy.shape.slice(1)], bytes };
  };
  return { ...lazy, read };
}

/** The row that lands at `row`. Within a head, GGUF row `2 j + k` is Hugging Face row `k * headRows / 2 + j`. */
function sourceRow(row: number, headRows: number, inverse: boolean): number {
  const inHead = row % headRows;
  const half = headRows / 2;
  const source = inverse
    ? (inHead % half) * 2 + Math.floor(inHead / half)
    : (inHead % 2) * half + Math.floor(inHead / 2);
  return row - inHead + source;
}

function rowsOfHead(rows: number, heads: number, name: string): number {
  const headRows = rows / heads;
  if (!Number.isSafeInteger(headRows) || headRows % 2 !== 0) {
    throw new HalftoneError('SHAPE', `${name}: ${rows} rows are not ${heads} heads of an even number of rows`, {
      where: WHERE,
      details: { tensor: name, rows, heads },
    });
  }
  return headRows;
}

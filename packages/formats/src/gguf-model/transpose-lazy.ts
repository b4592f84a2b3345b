import { DTYPES, HalftoneError, isDType, type LazyTensor, type ReadIntoOptions, type RowRange } from '@halftone/tensor';
import { destination } from '../internal/byte-range.js';

/**
 * A matrix with its axes exchanged, still in its file. Every read reads the whole matrix, so ask for all rows at once
 * where memory allows. Throws `UNSUPPORTED` for block types and for elements that are not whole bytes, whose rows
 * cannot be taken apart without decoding.
 */
export function transposeLazy(lazy: LazyTensor): LazyTensor {
  const [rows, columns] = lazy.shape;
  const bits = isDType(lazy.dtype) ? DTYPES[lazy.dtype].bits : 0;
  if (lazy.shape.length !== 2 || rows === undefined || columns === undefined || bits < 8 || bits % 8 !== 0) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${lazy.name}: a ${lazy.dtype} tensor of shape [${lazy.shape}] cannot be transposed without decoding; decode it first`,
      { where: 'gguf-model', details: { tensor: lazy.name, dtype: lazy.dtype, shape: lazy.shape } },
    );
  }
  const size = bits / 8;
  const read = async (range: RowRange = { start: 0, end: columns }, options?: ReadIntoOptions) => {
    if (!(range.start >= 0 && range.start <= range.end && range.end <= columns)) {
      throw new HalftoneError(
        'RANGE',
        `${lazy.name}: rows ${range.start} to ${range.end} are outside 0 to ${columns}`,
        {
          where: 'gguf-model',
          details: { tensor: lazy.name, rows: range, rowCount: columns },
        },
      );
    }
    const count = range.end - range.start;
    const bytes = destination(options, count * rows * size, 'gguf-model', lazy.name);
    const source = await lazy.read(undefined, { signal: options?.signal });
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < count; column++) {
        const from = (row * columns + range.start + column) * size;
        const to = (column * rows + row) * size;
        for (let byte = 0; byte < size; byte++) bytes[to + byte] = source.bytes[from + byte] as number;
      }
    }
    return { ...source, shape: [count, rows], bytes };
  };
  return { ...lazy, shape: [columns, rows], read };
}

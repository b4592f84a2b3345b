import { type LazyTensor, rowByteLength } from '@halftone/tensor';
import { destination } from './byte-range.js';
import { checkRows } from './lazy-tensor.js';

/**
 * A matrix whose rows the file orders for interleaved RoPE (pairs 2i, 2i+1), seen in the half-split order (i, i + d/2).
 * A range reads the file's rows from the first to the last that it needs: within one head, at most twice its size.
 */
export function halfSplitRows(stored: LazyTensor, headDim: number): LazyTensor {
  const half = headDim / 2;
  const storedRow = (row: number) => {
    const inHead = row % headDim;
    return row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
  };
  return {
    ...stored,
    async read(rows, options) {
      const { start, end } = checkRows(rows, stored.shape, 'llama2c', stored.name);
      const sources = Array.from({ length: end - start }, (_, i) => storedRow(start + i));
      const first = sources.reduce((least, row) => Math.min(least, row), Number.POSITIVE_INFINITY);
      const last = sources.reduce((most, row) => Math.max(most, row), -1);
      if (last < 0) return stored.read({ start, end }, options);
      const rowBytes = rowByteLength(stored.dtype, stored.shape[1] as number);
      const bytes = destination(options, sources.length * rowBytes, 'llama2c', stored.name);
      const packed = await stored.read({ start: first, end: last + 1 }, { signal: options?.signal });
      for (const [to, row] of sources.entries()) {
        const from = (row - first) * rowBytes;
        bytes.set(packed.bytes.subarray(from, from + rowBytes), to * rowBytes);
      }
      return { ...packed, shape: [end - start, ...stored.shape.slice(1)], bytes };
    },
  };
}

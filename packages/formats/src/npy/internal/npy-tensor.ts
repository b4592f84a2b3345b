/** An array file, or a member of an archive, as a lazy tensor. */
import {
  type ByteSource,
  DTYPES,
  elementCount,
  HalftoneError,
  type LazyTensor,
  type PackedTensor,
  type ReadIntoOptions,
  type ReadOptions,
  type RowRange,
  rowMajorStride,
  type Shape,
} from '@halftone/tensor';
import { destination } from '../../internal/byte-range.js';
import { checkRows, lazyTensor } from '../../internal/lazy-tensor.js';
import { NPY_PREFIX_BYTES, type NpyHeader, npyHeaderLength, parseNpyHeader } from '../npy-header.js';

const WHERE = 'npy';
/** Holds nearly every header, so that one read suffices. */
const FIRST_READ = 256;

/**
 * Reads the header of an array file. Throws what the header functions throw, and `FORMAT` when data is missing or left over.
 * In column-major files every read reads the whole array.
 */
export async function openNpyTensor(source: ByteSource, name: string, options?: ReadOptions): Promise<LazyTensor> {
  const header = await readHeader(source, name, options);
  const { dtype, bigEndian, fortranOrder, shape, dataStart, dataBytes } = header;
  const rest = source.size - dataStart;
  if (rest !== dataBytes) {
    const problem = rest < dataBytes ? 'the file is cut off' : 'bytes are left over; save one array a file';
    throw new HalftoneError(
      'FORMAT',
      `${name}: shape [${shape}] takes ${dataBytes} bytes, ${rest} are there; ${problem}`,
      {
        where: WHERE,
        details: { name, expected: dataBytes, actual: rest },
      },
    );
  }
  const columnMajor = fortranOrder && shape.length > 1;
  const storedShape = columnMajor ? [...shape].reverse() : shape;
  const stored = { source, where: WHERE, name, dtype, shape: storedShape, offset: dataStart, byteLength: dataBytes };
  const plain = lazyTensor(stored);
  const size = DTYPES[dtype].bits / 8;
  const little = bigEndian ? swapped(plain, size) : plain;
  return columnMajor ? reversedAxes(little, size) : little;
}

async function readHeader(source: ByteSource, name: string, options?: ReadOptions): Promise<NpyHeader> {
  const head = await source.read(0, Math.min(FIRST_READ, source.size), options);
  const length = npyHeaderLength(head.subarray(0, NPY_PREFIX_BYTES), name);
  if (length > source.size) {
    throw new HalftoneError('FORMAT', `${name}: the header takes ${length} bytes, the file has ${source.size}`, {
      where: WHERE,
      details: { name, length, size: source.size },
    });
  }
  return parseNpyHeader(length <= head.length ? head.subarray(0, length) : await source.read(0, length, options), name);
}

/** Elements of `size` bytes with their bytes in reverse. */
function swapped(lazy: LazyTensor, size: number): LazyTensor {
  return {
    ...lazy,
    async read(rows, options) {
      const part = await lazy.read(rows, options);
      for (let at = 0; at < part.bytes.length; at += size) part.bytes.subarray(at, at + size).reverse();
      return part;
    },
  };
}

/** The array with its axes in reverse order. */
function reversedAxes(lazy: LazyTensor, size: number): LazyTensor {
  const shape = Object.freeze([...lazy.shape].reverse());
  return {
    ...lazy,
    shape,
    async read(rows?: RowRange, options?: ReadIntoOptions): Promise<PackedTensor> {
      const { start, end } = checkRows(rows, shape, WHERE, lazy.name);
      const part = [end - start, ...shape.slice(1)];
      const whole = await lazy.read(undefined, { ...(options?.signal && { signal: options.signal }) });
      const bytes = destination(options, elementCount(part) * size, WHERE, lazy.name);
      gather(whole.bytes, bytes, part, [...rowMajorStride(lazy.shape)].reverse(), start, size);
      return { ...whole, shape: part, bytes };
    },
  };
}

/** Copies elements to row-major order; `strides` are those of the source, in elements. */
function gather(
  from: Uint8Array,
  to: Uint8Array,
  shape: Shape,
  strides: readonly number[],
  start: number,
  size: number,
) {
  const last = shape.length - 1;
  const columns = shape[last] as number;
  const step = (strides[last] as number) * size;
  const index = shape.map(() => 0);
  for (let at = 0; at < to.length; ) {
    let source = start * (strides[0] as number);
    for (let axis = 0; axis < last; axis++) source += (index[axis] as number) * (strides[axis] as number);
    source *= size;
    for (let column = 0; column < columns; column++, source += step) {
      for (let byte = 0; byte < size; byte++) to[at++] = from[source + byte] as number;
    }
    for (let axis = last - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      index[axis] = 0;
    }
  }
}

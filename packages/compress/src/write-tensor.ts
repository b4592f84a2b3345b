import { decodeGgml, packGgml } from '@halftone/formats';
import {
  type DType,
  decode,
  encode,
  HalftoneError,
  type InputStatistics,
  isGgmlType,
  type PackedTensor,
  type QuantizedTensor,
  type StorageType,
  tensor,
  throwIfAborted,
} from '@halftone/tensor';
import type { JobOutput } from './output.js';
import type { PlannedTensor } from './plan.js';
import { type WeightError, weightErrorMeter } from './weight-error.js';

/** What was done to one tensor. JSON. */
export interface TensorReport extends WeightError {
  readonly name: string;
  readonly role: string;
  readonly block?: number;
  readonly shape: readonly number[];
  readonly storage: StorageType;
  readonly bytes: number;
  readonly bitsPerWeight: number;
}

export interface WriteTensorOptions {
  readonly statistics?: InputStatistics;
  /** Elements held as float32 at a time, where the quantizer works row by row. Default 4 Mi: 16 MB. */
  readonly chunkElements?: number;
  readonly signal?: AbortSignal;
}

/**
 * Reads a tensor in row ranges, quantizes or casts each, writes the bytes at their place, and measures the error.
 * Throws `NUMERIC` for weights that are not finite.
 */
export async function writeTensor(
  planned: PlannedTensor,
  output: JobOutput,
  options: WriteTensorOptions = {},
): Promise<TensorReport> {
  const { source, treatment } = planned;
  const [rows, columns] = matrixShape(source.shape);
  const rowsAtOnce = treatment.quantizer?.rowwise === false ? rows : rowsPerChunk(columns, options.chunkElements);
  const meter = weightErrorMeter(columns, options.statistics?.inputSquares);
  let offset = planned.offset;
  for (let start = 0; start < rows; start += rowsAtOnce) {
    throwIfAborted(options.signal, 'compress');
    const end = Math.min(rows, start + rowsAtOnce);
    const packed = await readRows(planned, start, end, rows, options.signal);
    const original = toFloat(packed);
    requireFinite(original, planned, start, columns);
    const stored = await store(original, end - start, columns, packed, planned, options);
    meter.add(original, stored.values);
    await output.write(planned.file, offset, stored.bytes);
    offset += stored.bytes.byteLength;
  }
  if (offset !== planned.offset + planned.byteLength) {
    throw new HalftoneError(
      'FORMAT',
      `${planned.name}: wrote ${offset - planned.offset} bytes where ${planned.byteLength} were planned`,
      {
        where: 'compress',
      },
    );
  }
  return report(planned, rows * columns, meter.result());
}

interface Stored {
  readonly bytes: Uint8Array;
  /** What a reader will decode. */
  readonly values: Float32Array;
}

async function store(
  original: Float32Array,
  rows: number,
  columns: number,
  packed: PackedTensor,
  planned: PlannedTensor,
  options: WriteTensorOptions,
): Promise<Stored> {
  const { storage, quantizer } = planned.treatment;
  if (!quantizer) {
    if (packed.dtype === storage) return { bytes: packed.bytes, values: original };
    const encoded = encode(original, storage as DType, [rows, columns]);
    return { bytes: encoded.bytes, values: decode(encoded) };
  }
  const quantized = await quantizer.quantize(tensor(original, [rows, columns]), {
    name: planned.sourceName ?? planned.name,
    statistics: options.statistics,
    signal: options.signal,
  });
  return packQuantized(quantized, storage, planned.name);
}

function packQuantized(quantized: QuantizedTensor, storage: StorageType, name: string): Stored {
  if (isGgmlType(storage)) {
    const packed = packGgml(quantized);
    return { bytes: packed.bytes, values: decodeGgml(packed) };
  }
  throw new HalftoneError('UNSUPPORTED', `${name}: scheme '${quantized.scheme.name}' cannot be stored as ${storage}`, {
    where: 'compress',
  });
}

async function readRows(planned: PlannedTensor, start: number, end: number, rows: number, signal?: AbortSignal) {
  const { source } = planned;
  // Scalars and vectors are one row.
  if (source.shape.length < 2 || (start === 0 && end === rows)) return source.read(undefined, { signal });
  return source.read({ start, end }, { signal });
}

function toFloat(packed: PackedTensor): Float32Array {
  return isGgmlType(packed.dtype)
    ? decodeGgml(packed as Parameters<typeof decodeGgml>[0])
    : decode(packed as PackedTensor<DType>);
}

function matrixShape(shape: readonly number[]): [number, number] {
  if (shape.length < 2) return [1, shape[0] ?? 1];
  return [shape[0] as number, shape.slice(1).reduce((product, dimension) => product * dimension, 1)];
}

function rowsPerChunk(columns: number, chunkElements = 4 * 2 ** 20): number {
  return Math.max(1, Math.floor(chunkElements / Math.max(1, columns)));
}

function requireFinite(values: Float32Array, planned: PlannedTensor, firstRow: number, columns: number): void {
  // One addition an element: any NaN or infinity makes the sum of the products with zero NaN.
  let check = 0;
  for (let i = 0; i < values.length; i++) check += (values[i] as number) * 0;
  if (check === 0) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  const row = firstRow + Math.floor(at / columns);
  throw new HalftoneError(
    'NUMERIC',
    `${planned.sourceName ?? planned.name}: the weight at row ${row}, column ${at % columns} is ${values[at]}; the checkpoint is damaged, get a sound copy`,
    { where: 'compress', details: { tensor: planned.sourceName ?? planned.name, row, column: at % columns } },
  );
}

function report(planned: PlannedTensor, elements: number, error: WeightError): TensorReport {
  return {
    name: planned.sourceName ?? planned.name,
    role: planned.place.role,
    ...(planned.place.block === undefined ? {} : { block: planned.place.block }),
    shape: planned.source.shape,
    storage: planned.treatment.storage,
    bytes: planned.byteLength,
    bitsPerWeight: elements === 0 ? 0 : (planned.byteLength * 8) / elements,
    ...error,
  };
}

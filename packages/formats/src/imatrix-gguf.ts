import {
  type ByteSink,
  type ByteSource,
  HalftoneError,
  type LazyTensor,
  nativeData,
  type ReadOptions,
  type TensorEntry,
} from '@halftone/tensor';
import { type GgufCheckpoint, gguf } from './gguf.js';
import type { GgufMetadataEntry } from './gguf-types.js';
import { writeGguf } from './gguf-writer.js';
import { checkImatrixEntry, type Imatrix, type ImatrixEntry } from './imatrix-entry.js';
import { abortOnFailure } from './internal/abort-on-failure.js';

/** Tensors of a weight, by the end of their names. */
const PARTS = { sums: '.in_sum2', counts: '.counts', inputSums: '.in_sum' } as const;

/**
 * Reads the GGUF form: `<weight>.in_sum2`, `<weight>.counts` and in newer files `<weight>.in_sum`, all F32. Other tensors are
 * passed over, as in llama.cpp. Throws `FORMAT` for damage and for other GGUF files. Source: llama.cpp, common/imatrix-loader.cpp.
 */
export async function readImatrixGguf(source: ByteSource, options?: ReadOptions): Promise<Imatrix> {
  const file = await gguf.open(source, options);
  const type = file.metadata.get('general.type');
  if (type !== undefined && type !== 'imatrix')
    fail(`${source.name}: general.type is ${String(type)}, expected imatrix; give the importance matrix`, { type });
  const entries = new Map<string, ImatrixEntry>();
  for (const name of weightNames(file)) entries.set(name, await readEntry(file, name, options));
  if (entries.size === 0) fail(`${source.name}: holds no importance matrix (no tensor ends in ${PARTS.sums})`, {});
  return {
    datasets: datasetNames(file),
    chunkCount: wholeNumber(file, 'imatrix.chunk_count'),
    chunkSize: wholeNumber(file, 'imatrix.chunk_size'),
    entries,
  };
}

/**
 * Writes the GGUF form and commits the sink; on failure the sink is aborted. `llama-quantize` asks for the size of a chunk: 1
 * where it is not known, for then the counts are of chunks.
 *
 * Throws `UNSUPPORTED` for counts that float32 does not hold, `FORMAT` for weight names above 55 bytes.
 */
export async function writeImatrixGguf(sink: ByteSink, imatrix: Imatrix): Promise<void> {
  const { datasets, entries, chunkCount = 0, chunkSize = 1 } = imatrix;
  const metadata: GgufMetadataEntry[] = [
    { key: 'general.type', type: 'string', value: 'imatrix' },
    { key: 'imatrix.datasets', type: 'string[]', value: datasets },
    { key: 'imatrix.chunk_count', type: 'u32', value: chunkCount },
    { key: 'imatrix.chunk_size', type: 'u32', value: chunkSize },
  ];
  await abortOnFailure(sink, async () => {
    const parts = [...entries].flatMap(([name, entry]) => partsOf(name, entry));
    const values = new Map(parts.map((part) => [part.name, part.values]));
    await writeGguf(sink, parts, { metadata, data: ({ name }) => bytesOf(values.get(name) as Float32Array) });
  });
}

interface Part extends TensorEntry {
  readonly values: Float32Array;
}

function partsOf(name: string, entry: ImatrixEntry): Part[] {
  checkImatrixEntry(name, entry);
  const { sums, counts, inputSums } = entry;
  const part = (end: string, values: Float32Array, columns: number): Part => {
    return { name: name + end, dtype: 'f32', shape: [counts.length, columns], values };
  };
  const columns = sums.length / counts.length;
  const parts = [part(PARTS.sums, sums, columns), part(PARTS.counts, exactFloat32(name, counts), 1)];
  return inputSums === undefined ? parts : [...parts, part(PARTS.inputSums, inputSums, columns)];
}

function weightNames(file: GgufCheckpoint): Set<string> {
  const names = new Set<string>();
  for (const tensor of file.tensors.keys()) {
    const end = Object.values(PARTS).find((part) => tensor.endsWith(part));
    if (end !== undefined) names.add(tensor.slice(0, -end.length));
  }
  return names;
}

async function readEntry(file: GgufCheckpoint, name: string, options?: ReadOptions): Promise<ImatrixEntry> {
  const part = async (end: string) => {
    const tensor = file.tensors.get(name + end);
    return tensor && readFloats(tensor, options);
  };
  const sums = await part(PARTS.sums);
  const counts = await part(PARTS.counts);
  if (sums === undefined || counts === undefined) {
    const missing = sums === undefined ? PARTS.sums : PARTS.counts;
    return fail(`${name}: has no ${name}${missing}; compute the importance matrix again`, { name });
  }
  // llama.cpp rounds counts as well: merged files may have fractions.
  const entry = { sums, counts: Float64Array.from(counts, Math.round), inputSums: await part(PARTS.inputSums) };
  checkImatrixEntry(name, entry);
  return entry;
}

async function readFloats(tensor: LazyTensor, options?: ReadOptions): Promise<Float32Array> {
  if (tensor.dtype !== 'f32')
    fail(`${tensor.name}: is ${tensor.dtype}, an importance matrix is f32`, { name: tensor.name });
  return nativeData(await (tensor as LazyTensor<'f32'>).read(undefined, options));
}

function datasetNames(file: GgufCheckpoint): string[] {
  const entry = file.ggufMetadata.get('imatrix.datasets');
  if (entry === undefined) return [];
  if (entry.type !== 'string[]') fail(`imatrix.datasets is ${entry.type}, expected string[]`, {});
  return [...(entry.value as string[])];
}

function wholeNumber(file: GgufCheckpoint, key: string): number | undefined {
  const entry = file.ggufMetadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type !== 'u32') fail(`${key} is ${entry.type}, expected u32`, { key });
  return entry.value as number;
}

function exactFloat32(name: string, counts: Float64Array): Float32Array {
  const wrong = counts.find((count) => Math.fround(count) !== count);
  if (wrong !== undefined) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${name}: the count ${wrong} is no float32, which the file holds; scale it`,
      {
        where: 'imatrix',
        details: { name, count: wrong },
      },
    );
  }
  return Float32Array.from(counts);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function fail(message: string, details: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'imatrix', details });
}

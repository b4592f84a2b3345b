import { type ByteSink, type ByteSource, HalftoneError, nativeData, type ReadOptions } from '@halftone/tensor';
import { checkImatrixEntry, type Imatrix, type ImatrixEntry } from './imatrix-entry.js';
import { abortOnFailure } from './internal/abort-on-failure.js';
import { byteBuilder } from './internal/byte-builder.js';

const LARGEST_I32 = 0x7fff_ffff;
/** Name length, one character, calls, length and one value: the least that an entry takes. */
const LEAST_ENTRY_BYTES = 4 + 1 + 4 + 4 + 4;
const LONGEST_NAME = 4096;

/**
 * Reads the older form, `.dat`: a count, then for each weight its name, calls and values, then chunks and a data set's name,
 * which the oldest files lack. Values are means times calls. It has no magic number: sizes decide whether it is one.
 *
 * Throws `FORMAT` for damage. Source: llama.cpp, tools/imatrix/imatrix.cpp (load_imatrix_legacy).
 */
export async function readImatrixDat(source: ByteSource, options?: ReadOptions): Promise<Imatrix> {
  const reader = forwardReader(source, options);
  const count = (await reader.i32s(1, 'the number of entries'))[0] as number;
  if (count < 1 || count > Math.floor(reader.left() / LEAST_ENTRY_BYTES))
    fail(`${source.name}: ${count} entries do not fit in ${source.size} bytes; it is not an importance matrix`);
  const entries = new Map<string, ImatrixEntry>();
  for (let i = 0; i < count; i++) {
    const name = await readName(reader, `the name of entry ${i}`);
    if (entries.has(name)) fail(`${name}: two entries have this name; the file is damaged`);
    const [calls, length] = (await reader.i32s(2, `${name}: calls and length`)) as [number, number];
    if (length < 1) fail(`${name}: ${length} values; the file is damaged`);
    const bytes = await reader.bytes(length * 4, `${name}: ${length} values`);
    const sums = nativeData({ kind: 'packed', dtype: 'f32', shape: [length], bytes });
    // Where no call was counted, llama.cpp takes the values as the means.
    const entry = { sums, counts: Float64Array.of(Math.max(calls, 1)) };
    checkImatrixEntry(name, entry);
    entries.set(name, entry);
  }
  if (reader.left() === 0) return { datasets: [], entries };
  const chunkCount = (await reader.i32s(1, 'the number of chunks'))[0] as number;
  if (chunkCount < 0) fail(`${source.name}: ${chunkCount} chunks; the file is damaged`);
  if (reader.left() === 0) return { datasets: [], chunkCount, entries };
  const dataset = await readName(reader, 'the name of the data set', true);
  if (reader.left() !== 0)
    fail(`${source.name}: ${reader.left()} bytes follow the end; the file is damaged or is not an importance matrix`);
  return { datasets: dataset === '' ? [] : [dataset], chunkCount, entries };
}

/**
 * Writes the older form and commits the sink; on failure the sink is aborted. Calls are chunks, as in llama.cpp's files, where
 * that is exact, else the tokens themselves: readers only ever divide by them.
 *
 * Throws `UNSUPPORTED` for what the form cannot hold exactly: experts with counts of their own, sums of inputs, several data
 * sets, counts that are 0 or above 2^31 - 1.
 */
export async function writeImatrixDat(sink: ByteSink, imatrix: Imatrix): Promise<void> {
  await abortOnFailure(sink, async () => {
    await sink.write(encode(imatrix));
    await sink.commit();
  });
}

function encode(imatrix: Imatrix): Uint8Array {
  const { datasets, chunkCount = 0, entries } = imatrix;
  if (entries.size === 0) unsupported('an importance matrix without entries; collect some');
  if (datasets.length > 1) unsupported('names one data set and not several; keep one, or write GGUF');
  checkI32(chunkCount, 'the number of chunks');
  const builder = byteBuilder();
  const i32 = (value: number) => builder.u32(value >>> 0);
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    if (bytes.length > LONGEST_NAME) unsupported(`a name of ${bytes.length} bytes; shorten it to ${LONGEST_NAME}`);
    i32(bytes.length);
    builder.bytes(bytes);
  };
  i32(entries.size);
  for (const [name, entry] of entries) {
    checkImatrixEntry(name, entry);
    const { calls, values } = callsAndValues(name, entry, imatrix.chunkSize);
    text(name);
    i32(calls);
    i32(values.length);
    builder.bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  i32(chunkCount);
  text(datasets[0] ?? '');
  return builder.finish(1);
}

function callsAndValues(
  name: string,
  { sums, counts, inputSums }: ImatrixEntry,
  chunkSize: number | undefined,
): { calls: number; values: Float32Array } {
  const count = counts[0] as number;
  if (inputSums !== undefined) unsupported(`${name}: sums of inputs; leave them out, or write GGUF`);
  if (counts.some((other) => other !== count) || count === 0)
    unsupported(`${name}: experts that were counted one by one; write GGUF`);
  checkI32(count, `${name}: its count`);
  checkI32(sums.length, `${name}: its length`);
  const size = chunkSize ?? 1;
  const values = sums.map((sum) => sum / size);
  // Dividing by a power of two rounds nothing but subnormal numbers.
  const exact = Number.isInteger(Math.log2(size)) && values.every((value, i) => value * size === sums[i]);
  return exact && count % size === 0 ? { calls: count / size, values } : { calls: count, values: sums };
}

interface ForwardReader {
  /** Bytes not read yet. */
  left(): number;
  bytes(count: number, what: string): Promise<Uint8Array>;
  i32s(count: number, what: string): Promise<number[]>;
}

function forwardReader(source: ByteSource, options?: ReadOptions): ForwardReader {
  let position = 0;
  const reader: ForwardReader = {
    left: () => source.size - position,
    async bytes(count, what) {
      if (count > source.size - position) {
        fail(
          `${source.name}: ${what} need ${count} bytes at offset ${position}, ${source.size - position} are left; the file is cut off or is not an importance matrix`,
        );
      }
      position += count;
      return source.read(position - count, position, options);
    },
    async i32s(count, what) {
      const bytes = await reader.bytes(count * 4, what);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return Array.from({ length: count }, (_, i) => view.getInt32(i * 4, true));
    },
  };
  return reader;
}

async function readName(reader: ForwardReader, what: string, mayBeEmpty = false): Promise<string> {
  const length = (await reader.i32s(1, what))[0] as number;
  if (length < (mayBeEmpty ? 0 : 1) || length > LONGEST_NAME)
    fail(`${what} has ${length} bytes; the file is damaged or is not an importance matrix`);
  try {
    const bytes = await reader.bytes(length, what);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    if (cause instanceof HalftoneError) throw cause;
    return fail(`${what} is not UTF-8; the file is damaged or is not an importance matrix`);
  }
}

function checkI32(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > LARGEST_I32)
    unsupported(`${what} is ${value}, which is not from 0 to ${LARGEST_I32}; write GGUF`);
}

function fail(message: string): never {
  throw new HalftoneError('FORMAT', message, { where: 'imatrix' });
}

function unsupported(what: string): never {
  throw new HalftoneError('UNSUPPORTED', `a .dat importance matrix cannot hold this: ${what}`, { where: 'imatrix' });
}

/** Members of a zip archive as byte sources, through zip.js. */
import { type ByteSource, HalftoneError, isHalftoneError, type ReadOptions, throwIfAborted } from '@halftone/tensor';
import type { CreateReadableOptions, FileEntry, Reader } from '@zip.js/zip.js';
import { checkByteRange, destination } from '../../internal/byte-range.js';

export const NPZ = 'npz';
const LOCAL_HEADER_BYTES = 30;
const LOCAL_SIGNATURE = 0x04034b50;
/** No deflate stream grows more: 258 bytes from two bits. */
const DEFLATE_LIMIT = 1032;
/** The first piece holds a header; later ones double up to the last. */
const FIRST_PIECE = 1024;
const LARGEST_PIECE = 256 * 1024;

export interface ZipMember {
  readonly source: ByteSource;
  readonly compressedBytes: number;
}

export interface ZipLimits {
  /** How often the compressed size a member may take when it is read. */
  readonly maxExpansion: number;
  /** Members up to this size are read whatever their expansion. */
  readonly freeBytes: number;
}

/** zip.js, which only archives need. Throws `UNSUPPORTED` where it is not installed. */
export async function loadZip(): Promise<typeof import('@zip.js/zip.js')> {
  try {
    return await import('@zip.js/zip.js');
  } catch (cause) {
    throw new HalftoneError('UNSUPPORTED', 'npz needs the package @zip.js/zip.js; install it', { where: NPZ, cause });
  }
}

/**
 * The members of an archive by name. Reads the central directory and the local headers.
 * Throws `FORMAT` for damaged archives, members that overlap and names that occur twice; `UNSUPPORTED` for encryption and for
 * methods other than store and deflate.
 */
export async function openZipMembers(
  archive: ByteSource,
  limits: ZipLimits,
  options?: ReadOptions,
): Promise<Map<string, ZipMember>> {
  const { ZipReader } = await loadZip();
  const zip = new ZipReader(zipReader(archive, options), { useWebWorkers: false, checkCrc32: true });
  const entries = await asFormatErrors(archive.name, () => zip.getEntries({ filenameValidation: 'tolerant' }));
  const members = new Map<string, ZipMember>();
  const ranges: [number, number, string][] = [];
  for (const entry of entries) {
    if (entry.directory) continue;
    const name = entry.filename;
    if (members.has(name)) fail('FORMAT', `${name}: two members have this name`, { name });
    const dataStart = await checkedDataStart(archive, entry, options);
    ranges.push([entry.offset, dataStart + entry.compressedSize, name]);
    const stored = entry.compressionMethod === 0;
    const source = stored ? storedSource(archive, entry, dataStart) : deflatedSource(entry, limits);
    members.set(name, { source, compressedBytes: entry.compressedSize });
  }
  ranges.sort(([a], [b]) => a - b);
  for (const [i, [start, , name]] of ranges.entries()) {
    const before = ranges[i - 1];
    if (before !== undefined && before[1] > start) fail('FORMAT', `${name} overlaps ${before[2]}`, { name });
  }
  return members;
}

/** The source as zip.js reads it: cut at its end, and in pieces that start small. */
function zipReader({ name, size, read }: ByteSource, options?: ReadOptions): Reader<unknown> {
  const readUint8Array = async (index: number, length: number) => {
    const start = Math.min(Math.max(index, 0), size);
    return read(start, Math.min(start + Math.max(length, 0), size), options);
  };
  const createReadable = ({ offset = 0, size: length = size - offset }: CreateReadableOptions = {}) => {
    let at = offset;
    let piece = FIRST_PIECE;
    const end = Math.min(offset + length, size);
    return new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          if (at < end) controller.enqueue(await readUint8Array(at, Math.min(piece, end - at)));
          at += piece;
          piece = Math.min(piece * 2, LARGEST_PIECE);
          if (at >= end) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  };
  return {
    size,
    readUint8Array,
    createReadable,
    get readable(): ReadableStream {
      return fail('FORMAT', `${name}: the archive cannot be read front to back`, {});
    },
  };
}

async function checkedDataStart(archive: ByteSource, entry: FileEntry, options?: ReadOptions): Promise<number> {
  const { filename: name, offset, compressedSize, uncompressedSize, compressionMethod, encrypted } = entry;
  if (encrypted) fail('UNSUPPORTED', `${name}: is encrypted`, { name });
  if (compressionMethod !== 0 && compressionMethod !== 8) {
    fail('UNSUPPORTED', `${name}: compression method ${compressionMethod} is not read, only store and deflate`, {
      name,
    });
  }
  const possible = compressionMethod === 0 ? compressedSize : compressedSize * DEFLATE_LIMIT;
  if (uncompressedSize > possible || (compressionMethod === 0 && uncompressedSize !== compressedSize)) {
    fail('FORMAT', `${name}: ${compressedSize} bytes cannot become ${uncompressedSize}`, { name });
  }
  if (!(offset >= 0 && offset + LOCAL_HEADER_BYTES <= archive.size)) {
    fail('FORMAT', `${name}: its header at ${offset} lies outside the archive`, { name, offset });
  }
  const bytes = await archive.read(offset, offset + LOCAL_HEADER_BYTES, options);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== LOCAL_SIGNATURE) fail('FORMAT', `${name}: no header at ${offset}`, { name, offset });
  const start = offset + LOCAL_HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + compressedSize > archive.size) {
    fail('FORMAT', `${name}: ends at ${start + compressedSize}, the archive has ${archive.size} bytes`, { name });
  }
  return start;
}

function storedSource(
  archive: ByteSource,
  { filename: name, uncompressedSize: size }: FileEntry,
  from: number,
): ByteSource {
  return {
    name,
    size,
    async read(start, end, options) {
      checkByteRange(start, end, size, NPZ, name);
      return archive.read(from + start, from + end, options);
    },
  };
}

/** Every read decompresses the member from its start, and to its end with a check of its sum where the range ends there. */
function deflatedSource(entry: FileEntry, { maxExpansion, freeBytes }: ZipLimits): ByteSource {
  const { filename: name, uncompressedSize: size, compressedSize } = entry;
  const limit = Math.max(freeBytes, compressedSize * maxExpansion);
  return {
    name,
    size,
    async read(start, end, options) {
      throwIfAborted(options?.signal, NPZ);
      checkByteRange(start, end, size, NPZ, name);
      if (end > limit) {
        fail(
          'UNSUPPORTED',
          `${name}: ${compressedSize} bytes become ${size}, over ${maxExpansion} times; raise maxExpansion`,
          {
            name,
            size,
            compressedSize,
          },
        );
      }
      const bytes = destination(options, end - start, NPZ, name);
      if (start < end) await inflateRange(entry, start, end, bytes, options);
      return bytes;
    },
  };
}

async function inflateRange(entry: FileEntry, start: number, end: number, into: Uint8Array, options?: ReadOptions) {
  const enough = new Error('enough');
  let at = 0;
  const writable = new WritableStream<Uint8Array>({
    write(piece) {
      const [from, to] = [Math.max(start, at), Math.min(end, at + piece.length)];
      if (from < to) into.set(piece.subarray(from - at, to - at), from - start);
      at += piece.length;
      if (at >= end && end < entry.uncompressedSize) throw enough;
    },
  });
  await asFormatErrors(entry.filename, async () => {
    try {
      await entry.getData(writable, { ...(options?.signal && { signal: options.signal }) });
    } catch (error) {
      throwIfAborted(options?.signal, NPZ);
      if (at < end || end === entry.uncompressedSize) throw error;
    }
  });
  if (at < end) fail('FORMAT', `${entry.filename}: only ${at} of ${entry.uncompressedSize} bytes came out`, {});
}

/** Errors of zip.js as `FORMAT`. */
async function asFormatErrors<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isHalftoneError(cause)) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HalftoneError('FORMAT', `${name}: ${reason}; the archive is damaged`, { where: NPZ, cause });
  }
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: NPZ, details });
}

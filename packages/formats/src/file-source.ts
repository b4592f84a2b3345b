import { constants } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { type ByteSource, HalftoneError, throwIfAborted } from '@halftone/tensor';
import { allocateBytes, checkByteRange, destination } from './internal/byte-range.js';
import { ioError } from './internal/node-io.js';

/** Bytes asked from the system at once: below its 2^31 limit, small enough that an abort is noticed. */
const PIECE_BYTES = 64 * 1024 * 1024;

/**
 * A file on disk, of any size. Call `close` when done; an opened checkpoint does it for you.
 * Throws `IO` when the file cannot be opened, is not a regular file, or becomes shorter while it is read.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const where = 'fileSource';
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    throw ioError(where, path, 'open the file', cause);
  }
  let size: number;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) {
      throw new HalftoneError('IO', `${path}: not a regular file; give the path of a file`, {
        where,
        details: { path },
      });
    }
    size = stats.size;
  } catch (cause) {
    await handle.close();
    throw cause instanceof HalftoneError ? cause : ioError(where, path, 'read the size', cause);
  }
  let closed = false;
  return {
    name: path,
    size,
    async read(start, end, options) {
      checkByteRange(start, end, size, where, path);
      if (closed)
        throw new HalftoneError('IO', `${path}: the source is closed; open it again`, { where, details: { path } });
      const bytes = destination(options, end - start, where, path, unzeroedBytes);
      let done = 0;
      while (done < bytes.length) {
        throwIfAborted(options?.signal, where);
        let bytesRead: number;
        try {
          ({ bytesRead } = await handle.read(bytes, done, Math.min(PIECE_BYTES, bytes.length - done), start + done));
        } catch (cause) {
          throw ioError(where, path, `read at offset ${start + done}`, cause);
        }
        if (bytesRead === 0) {
          throw new HalftoneError(
            'IO',
            `${path}: ends at byte ${start + done}, it had ${size} when opened; it was changed`,
            {
              where,
              details: { path, size, end: start + done },
            },
          );
        }
        done += bytesRead;
      }
      return bytes;
    },
    async close() {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
}

/** Memory that the system need not clear, for every byte is read into it; where Buffer gives none, memory that is. */
function unzeroedBytes(byteLength: number, where: string, name: string): Uint8Array {
  if (byteLength > constants.MAX_LENGTH) return allocateBytes(byteLength, where, name);
  try {
    const { buffer } = Buffer.allocUnsafeSlow(byteLength);
    return new Uint8Array(buffer);
  } catch {
    return allocateBytes(byteLength, where, name);
  }
}

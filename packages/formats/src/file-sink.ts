import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ByteSink, HalftoneError } from '@halftone/tensor';
import { checkFreeSpace, ioError, syncFolder } from './internal/node-io.js';

const PIECE_BYTES = 64 * 1024 * 1024;

export interface FileSinkOptions {
  /** Size of the finished file, if known, and of files that follow: refuses to start when the disk has less room. */
  readonly expectedBytes?: number;
}

/**
 * Writes `<path>.partial` and renames it to `path` on `commit`, after its bytes are on the disk: readers see the whole
 * file or none. An existing file is replaced then. `abort` removes the partial file.
 *
 * Throws `IO` when the folder does not exist, is not writable, or lacks room for `expectedBytes`.
 */
export async function fileSink(path: string, options: FileSinkOptions = {}): Promise<ByteSink> {
  const where = 'fileSink';
  const partial = `${path}.partial`;
  const folder = dirname(path);
  if (options.expectedBytes !== undefined) await checkFreeSpace(where, folder, path, options.expectedBytes);
  let handle: FileHandle;
  try {
    handle = await open(partial, 'w');
  } catch (cause) {
    throw ioError(where, partial, 'create the file', cause);
  }
  let position = 0;
  let state: 'open' | 'committed' | 'aborted' = 'open';

  function checkOpen(): void {
    if (state !== 'open')
      throw new HalftoneError('IO', `${path}: the sink is ${state}; make a new one`, { where, details: { path } });
  }

  async function abort(): Promise<void> {
    if (state !== 'open') return;
    state = 'aborted';
    try {
      await handle.close();
    } catch {
      // The commit that failed may have closed it already; the file is removed either way.
    }
    await rm(partial, { force: true });
  }

  return {
    get position() {
      return position;
    },
    async write(bytes) {
      checkOpen();
      let done = 0;
      while (done < bytes.length) {
        try {
          const length = Math.min(PIECE_BYTES, bytes.length - done);
          const { bytesWritten } = await handle.write(bytes, done, length, position);
          if (bytesWritten === 0) throw new Error('the system wrote nothing');
          done += bytesWritten;
          position += bytesWritten;
        } catch (cause) {
          throw ioError(where, partial, `write at offset ${position}`, cause);
        }
      }
    },
    async commit() {
      checkOpen();
      try {
        await handle.sync();
        await handle.close();
        await rename(partial, path);
      } catch (cause) {
        throw ioError(where, path, 'finish the file', cause);
      }
      state = 'committed';
      await syncFolder(folder);
    },
    abort,
  };
}

import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HalftoneError, throwIfAborted, type WorkOptions } from '@halftone/tensor';
import { type HttpSourceOptions, httpSource } from '../http-source.js';
import { checkFreeSpace, ioError } from '../internal/node-io.js';
import type { HubFile } from './hub-files.js';

const PIECE_BYTES = 8 * 1024 * 1024;
const WHERE = 'hub';

/**
 * Downloads `url` to `path` by way of `<path>.incomplete`, which a later call takes up where this one stopped. The file appears
 * only when its size and hash are what the Hub lists.
 *
 * Throws `IO` for a wrong size or hash (nothing is kept then), a full disk, and what `httpSource` throws; `ABORTED`.
 */
export async function downloadFile(
  url: string,
  path: string,
  file: HubFile,
  options: HttpSourceOptions & WorkOptions,
): Promise<void> {
  const incomplete = `${path}.incomplete`;
  await mkdir(dirname(path), { recursive: true });
  const done = await usableBytes(incomplete, file.size);
  await checkFreeSpace(WHERE, dirname(path), path, file.size - done);
  const hash = await startHash(incomplete, done, file);
  let handle: FileHandle;
  try {
    handle = await open(incomplete, done > 0 ? 'r+' : 'w');
  } catch (cause) {
    throw ioError(WHERE, incomplete, 'create the file', cause);
  }
  try {
    if (file.size > done) await append(url, handle, done, file, hash, options);
    await handle.sync();
  } finally {
    await handle.close();
  }
  const actual = hash.digest('hex');
  if (actual !== file.hash) {
    await rm(incomplete, { force: true });
    throw new HalftoneError(
      'IO',
      `${file.path}: the bytes received hash to ${actual}, the Hub lists ${file.hash}; download it again`,
      { where: WHERE, details: { path: file.path, actual, expected: file.hash } },
    );
  }
  await rename(incomplete, path);
}

async function append(
  url: string,
  handle: FileHandle,
  done: number,
  file: HubFile,
  hash: Hash,
  options: HttpSourceOptions & WorkOptions,
): Promise<void> {
  const source = await httpSource(url, options);
  if (source.size !== file.size) {
    throw new HalftoneError('IO', `${file.path}: the server has ${source.size} bytes, the Hub lists ${file.size}`, {
      where: WHERE,
      details: { path: file.path, size: source.size, expected: file.size },
    });
  }
  for (let at = done; at < file.size; at += PIECE_BYTES) {
    throwIfAborted(options.signal, WHERE);
    options.onProgress?.({ stage: `download ${file.path}`, done: at, total: file.size });
    const bytes = await source.read(at, Math.min(file.size, at + PIECE_BYTES), { signal: options.signal });
    hash.update(bytes);
    try {
      await handle.write(bytes, 0, bytes.length, at);
    } catch (cause) {
      throw ioError(WHERE, file.path, `write at offset ${at}`, cause);
    }
  }
  options.onProgress?.({ stage: `download ${file.path}`, done: file.size, total: file.size });
}

/** Bytes of an earlier try. One that is too long is of another file. */
async function usableBytes(incomplete: string, size: number): Promise<number> {
  const found = await stat(incomplete).then(
    (stats) => stats.size,
    () => 0,
  );
  return found <= size ? found : 0;
}

/** The hash over what is there already. Git hashes a small header first. */
async function startHash(incomplete: string, done: number, { hash, size }: HubFile): Promise<Hash> {
  const started = createHash(hash.length === 64 ? 'sha256' : 'sha1');
  if (hash.length === 40) started.update(`blob ${size}\0`);
  if (done > 0) for await (const piece of createReadStream(incomplete)) started.update(piece as Uint8Array);
  return started;
}

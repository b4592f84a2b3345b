import { type FileHandle, mkdir, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { HalftoneError } from '@halftone/tensor';
import type { JobOutput, OutputJob } from './output.js';

const WHERE = 'output';

export interface FileOutputOptions {
  /** Finished pieces are made durable, and so resumable, after this many bytes or `syncMilliseconds`. Default 64 MiB. */
  readonly syncBytes?: number;
  /** Default 1000. */
  readonly syncMilliseconds?: number;
}

/**
 * Writes one file. Until `commit`, the data lies in `<path>.partial` and the list of finished pieces in
 * `<path>.partial.journal`; both are gone afterwards. An existing file at `path` stays whole until it is replaced.
 *
 * Throws `IO` when the folder is missing or the disk has too little room.
 */
export function outputFile(path: string, options: FileOutputOptions = {}): JobOutput {
  const target = resolve(path);
  const partial = `${target}.partial`;
  return journaledOutput({
    options,
    space: dirname(target),
    journal: `${partial}.journal`,
    partial,
    prepare: async () => {},
    place: () => partial,
    publish: () => rename(partial, target),
  });
}

/**
 * Writes a folder of files, by way of `<path>.partial/`.
 * Throws `IO` when `path` exists already: a folder cannot be replaced in one step.
 */
export function outputFolder(path: string, options: FileOutputOptions = {}): JobOutput {
  const target = resolve(path);
  const partial = `${target}.partial`;
  return journaledOutput({
    options,
    space: dirname(target),
    journal: `${partial}.journal`,
    partial,
    prepare: async () => {
      if (await exists(target)) {
        throw new HalftoneError('IO', `the folder '${path}' exists already; remove it or choose another name`, {
          where: WHERE,
        });
      }
      await mkdir(partial, { recursive: true });
    },
    place: (name) => join(partial, basename(name)),
    publish: () => rename(partial, target),
  });
}

interface Placement {
  readonly options: FileOutputOptions;
  /** An existing folder on the file system that will hold the output. */
  readonly space: string;
  readonly journal: string;
  readonly partial: string;
  prepare(): Promise<void>;
  place(name: string): string;
  publish(): Promise<void>;
}

function journaledOutput(placement: Placement): JobOutput {
  const { syncBytes = 64 * 2 ** 20, syncMilliseconds = 1000 } = placement.options;
  let handles: FileHandle[] = [];
  let journal: FileHandle | undefined;
  let pending: string[] = [];
  let unsynced = 0;
  let lastSync = 0;

  async function sync(): Promise<void> {
    if (pending.length === 0) return;
    for (const handle of handles) await handle.datasync();
    await journal?.appendFile(pending.join(''));
    await journal?.datasync();
    pending = [];
    unsynced = 0;
    lastSync = performance.now();
  }

  async function close(): Promise<void> {
    const open = journal ? [...handles, journal] : handles;
    handles = [];
    journal = undefined;
    for (const handle of open) await handle.close();
  }

  return {
    async begin(job) {
      return wrapIo(async () => {
        const records = await finishedRecords(placement.journal, job, placement.place);
        const fresh = records === undefined;
        if (fresh) await removePartial(placement);
        await placement.prepare();
        await checkSpace(placement, job, fresh);
        handles = await Promise.all(
          job.files.map((file) => openForWriting(placement.place(file.name), file.byteLength, fresh)),
        );
        // Written anew on resuming too: the old journal may end in a record that was cut off.
        journal = await open(placement.journal, 'w');
        const lines = [{ fingerprint: job.fingerprint }, ...(records ?? [])].map((line) => `${JSON.stringify(line)}\n`);
        await journal.appendFile(lines.join(''));
        lastSync = performance.now();
        return records ?? [];
      });
    },
    async write(file, offset, bytes) {
      await wrapIo(async () => {
        const handle = handles[file] as FileHandle;
        let written = 0;
        while (written < bytes.byteLength) {
          const result = await handle.write(bytes, written, bytes.byteLength - written, offset + written);
          written += result.bytesWritten;
        }
        unsynced += bytes.byteLength;
      });
    },
    async finishPiece(record) {
      pending.push(`${JSON.stringify(record)}\n`);
      if (unsynced >= syncBytes || performance.now() - lastSync >= syncMilliseconds) await wrapIo(sync);
    },
    async commit() {
      await wrapIo(async () => {
        for (const handle of handles) await handle.sync();
        await close();
        await placement.publish();
        await rm(placement.journal, { force: true });
      });
    },
    async discard() {
      await close();
      pending = [];
      await removePartial(placement);
    },
    async suspend() {
      try {
        await wrapIo(sync);
      } finally {
        await close();
      }
    },
  };
}

/** The records of a matching journal, or undefined when the job must start afresh. */
async function finishedRecords(
  journal: string,
  job: OutputJob,
  place: (name: string) => string,
): Promise<unknown[] | undefined> {
  const text = await readFile(journal, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  for (const file of job.files) {
    const size = await stat(place(file.name)).then(
      (info) => info.size,
      () => -1,
    );
    if (size !== file.byteLength) return undefined;
  }
  // What follows the last line feed is a record that was cut off.
  const lines = text.split('\n').slice(0, -1);
  try {
    const [head, ...records] = lines.map((line) => JSON.parse(line) as unknown);
    return (head as { fingerprint?: unknown } | undefined)?.fingerprint === job.fingerprint ? records : undefined;
  } catch {
    return undefined;
  }
}

async function openForWriting(path: string, byteLength: number, fresh: boolean): Promise<FileHandle> {
  const handle = await open(path, fresh ? 'w' : 'r+');
  if (fresh) await handle.truncate(byteLength);
  return handle;
}

async function checkSpace(placement: Placement, job: OutputJob, fresh: boolean): Promise<void> {
  if (!fresh) return;
  const needed = job.files.reduce((sum, file) => sum + file.byteLength, 0);
  const { bavail, bsize } = await statfs(placement.space);
  if (bavail * bsize < needed) {
    throw new HalftoneError(
      'IO',
      `the output needs ${needed} bytes but its disk has ${bavail * bsize} left; free some space or write elsewhere`,
      { where: WHERE, details: { needed, available: bavail * bsize } },
    );
  }
}

async function removePartial(placement: Placement): Promise<void> {
  await rm(placement.partial, { recursive: true, force: true });
  await rm(placement.journal, { force: true });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function wrapIo<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof HalftoneError) throw cause;
    const system = cause as NodeJS.ErrnoException;
    throw new HalftoneError('IO', `${system.message}; check that the folder exists, is writable and has room`, {
      where: WHERE,
      cause,
      details: { errno: system.code },
    });
  }
}

import { constants, copyFile, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  type ByteSink,
  type ByteSource,
  HalftoneError,
  isHalftoneError,
  throwIfAborted,
  type WorkOptions,
} from '@halftone/tensor';
import { fileSink } from './file-sink.js';
import { fileSource } from './file-source.js';
import { type GgufEditPlan, type GgufMetadataEdits, planGgufMetadataEdit } from './gguf-edit.js';
import { readGgufHeader } from './gguf-header.js';
import { abortOnFailure } from './internal/abort-on-failure.js';
import { checkFreeSpace, ioError, syncFolder } from './internal/node-io.js';

const WHERE = 'gguf';
const PIECE_BYTES = 16 * 1024 * 1024;

export interface EditGgufOptions extends WorkOptions {
  /** Where the edited file goes. Default: in place of the old one. */
  readonly out?: string;
}

/**
 * Changes a GGUF file's metadata. Only the header is written anew; the bytes of tensors are copied as they are, by the system
 * itself where the header keeps its size up to padding (on file systems that share blocks that copies nothing).
 *
 * The old file stays until the new one is whole. Throws `IO` when the disk has no room for a second copy, and what
 * `planGgufMetadataEdit` throws.
 */
export async function editGgufMetadata(
  path: string,
  edits: GgufMetadataEdits,
  options: EditGgufOptions = {},
): Promise<GgufEditPlan> {
  const { out = path } = options;
  const source = await fileSource(path);
  try {
    const header = await readGgufHeader(source, options);
    const plan = planGgufMetadataEdit(header, edits);
    if (plan.header.length === header.dataOffset && header.dataOffset <= source.size) {
      await cloneWithHeader(source, plan.header, out, options);
    } else {
      const dataBytes = Math.max(0, source.size - header.dataOffset);
      const sink = await fileSink(out, { expectedBytes: plan.header.length + dataBytes });
      await copyWithHeader(sink, source, plan.header, header.dataOffset, options);
    }
    return plan;
  } finally {
    await source.close?.();
  }
}

async function copyWithHeader(
  sink: ByteSink,
  source: ByteSource,
  header: Uint8Array,
  dataOffset: number,
  options: WorkOptions,
): Promise<void> {
  await abortOnFailure(sink, async () => {
    await sink.write(header);
    const buffer = new Uint8Array(Math.min(PIECE_BYTES, Math.max(0, source.size - dataOffset)));
    for (let start = dataOffset; start < source.size; start += buffer.length) {
      options.onProgress?.({ stage: 'copy', done: start - dataOffset, total: source.size - dataOffset });
      const end = Math.min(source.size, start + buffer.length);
      const into = buffer.subarray(0, end - start);
      await sink.write(await source.read(start, end, { into, signal: options.signal }));
    }
    await sink.commit();
  });
}

async function cloneWithHeader(
  source: ByteSource,
  header: Uint8Array,
  out: string,
  options: WorkOptions,
): Promise<void> {
  const partial = `${out}.partial`;
  const folder = dirname(out);
  throwIfAborted(options.signal, WHERE);
  await checkFreeSpace(WHERE, folder, out, source.size);
  try {
    await copyFile(source.name, partial, constants.COPYFILE_FICLONE);
    const handle = await open(partial, 'r+');
    try {
      if ((await handle.stat()).size !== source.size) {
        throw new HalftoneError('IO', `${source.name}: was changed while it was copied; try again`, { where: WHERE });
      }
      for (let done = 0; done < header.length; ) {
        done += (await handle.write(header, done, header.length - done, done)).bytesWritten;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    throwIfAborted(options.signal, WHERE);
    await rename(partial, out);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw isHalftoneError(cause) ? cause : ioError(WHERE, out, 'write the edited file', cause);
  }
  await syncFolder(folder);
}

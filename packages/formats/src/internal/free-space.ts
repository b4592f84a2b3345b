import { statfs } from 'node:fs/promises';
import { HalftoneError } from '@halftone/tensor';
import { ioError } from './node-io.js';

/** Throws `IO` when the disk of `folder` has less room than `expectedBytes`. */
export async function checkFreeSpace(folder: string, path: string, expectedBytes: number): Promise<void> {
  let free: number;
  try {
    const { bavail, bsize } = await statfs(folder);
    free = bavail * bsize;
  } catch (cause) {
    throw ioError('fileSink', folder, 'use the folder', cause);
  }
  if (free < expectedBytes) {
    throw new HalftoneError(
      'IO',
      `${path}: needs ${expectedBytes} bytes, the disk has ${free} free; free some or write elsewhere`,
      {
        where: 'fileSink',
        details: { path, expectedBytes, free },
      },
    );
  }
}

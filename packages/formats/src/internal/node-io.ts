import { open, statfs } from 'node:fs/promises';
import { HalftoneError } from '@halftone/tensor';

/** An `IO` error that names the path and carries the system's code (`ENOENT`, `ENOSPC`). */
export function ioError(where: string, path: string, action: string, cause: unknown): HalftoneError {
  const systemCode = (cause as NodeJS.ErrnoException | undefined)?.code;
  const reason = systemCode === undefined ? '' : ` (${systemCode})`;
  return new HalftoneError('IO', `${path}: cannot ${action}${reason}${advice(systemCode)}`, {
    where,
    details: { path, systemCode },
    cause,
  });
}

function advice(systemCode: string | undefined): string {
  switch (systemCode) {
    case 'ENOENT':
      return '; check the path';
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return '; check the permissions';
    case 'ENOSPC':
    case 'EDQUOT':
      return '; free some space or write elsewhere';
    case 'EISDIR':
      return '; the path is a folder';
    case 'EMFILE':
      return '; close other files';
    default:
      return '';
  }
}

/** Throws `IO` when the disk of a folder has less room than a file of so many bytes needs. */
export async function checkFreeSpace(
  where: string,
  folder: string,
  path: string,
  expectedBytes: number,
): Promise<void> {
  let free: number;
  try {
    const { bavail, bsize } = await statfs(folder);
    free = bavail * bsize;
  } catch (cause) {
    throw ioError(where, folder, 'use the folder', cause);
  }
  if (free < expectedBytes) {
    throw new HalftoneError(
      'IO',
      `${path}: needs ${expectedBytes} bytes, the disk has ${free} free; free some or write elsewhere`,
      {
        where,
        details: { path, expectedBytes, free },
      },
    );
  }
}

/** Makes the rename itself durable, where the system lets folders be synced (Windows does not). */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file is complete and in place; only its survival of a power cut within seconds is less certain.
  }
}

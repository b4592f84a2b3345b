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

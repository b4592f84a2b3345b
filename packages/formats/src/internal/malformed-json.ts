import { HalftoneError, isHalftoneError } from '@halftone/tensor';

/**
 * Runs the conversion of a parsed JSON file. Such files have dozens of places where an object or a string may be missing: reading
 * them as if none were stops at the first, and that becomes `FORMAT` here.
 */
export function refuseMalformedJson<T>(what: string, where: string, convert: () => T): T {
  try {
    return convert();
  } catch (cause) {
    if (isHalftoneError(cause)) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HalftoneError('FORMAT', `${what}: ${reason}; check the file`, { where, cause });
  }
}

import { HalftoneError } from '@halftone/tensor';

/** Throws `RANGE` unless `[start, end)` are whole numbers inside `[0, size]`. */
export function checkByteRange(start: number, end: number, size: number, where: string, name: string): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= size) return;
  throw new HalftoneError('RANGE', `${name}: bytes [${start}, ${end}) are outside the source of ${size} bytes`, {
    where,
    details: { name, start, end, size },
  });
}

/** A zeroed buffer, or `RANGE` where the engine cannot make one of that size. */
export function allocateBytes(byteLength: number, where: string, name: string): Uint8Array {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new HalftoneError('RANGE', `${name}: cannot hold ${byteLength} bytes at once; read it in row ranges`, {
      where,
      details: { name, byteLength },
      cause,
    });
  }
}

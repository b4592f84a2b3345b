import { HalftoneError, type ReadIntoOptions } from '@halftone/tensor';

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

/** Where a read of so many bytes puts them: `into`, or what `allocate` gives. Throws `RANGE` when `into` has another length. */
export function destination(
  options: ReadIntoOptions | undefined,
  byteLength: number,
  where: string,
  name: string,
  allocate = allocateBytes,
): Uint8Array {
  const into = options?.into;
  if (into === undefined) return allocate(byteLength, where, name);
  if (into.length === byteLength) return into;
  throw new HalftoneError('RANGE', `${name}: into has ${into.length} bytes, the range read has ${byteLength}`, {
    where,
    details: { name, into: into.length, byteLength },
  });
}

/** Bytes that were read elsewhere, in `into` where there is one. Throws as `destination` does. */
export function delivered(
  bytes: Uint8Array,
  options: ReadIntoOptions | undefined,
  where: string,
  name: string,
): Uint8Array {
  if (options?.into === undefined || bytes === options.into) return bytes;
  const into = destination(options, bytes.length, where, name);
  into.set(bytes);
  return into;
}

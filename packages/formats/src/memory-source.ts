import { type ByteSource, HalftoneError, throwIfAborted } from '@halftone/tensor';
import { checkByteRange, delivered } from './internal/byte-range.js';

/** Bytes in memory. `read` copies, so that results never alias the source. */
export function arrayBufferSource(bytes: ArrayBuffer | ArrayBufferView, name = 'memory'): ByteSource {
  const all = ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
  return {
    name,
    size: all.length,
    async read(start, end, options) {
      throwIfAborted(options?.signal, 'arrayBufferSource');
      checkByteRange(start, end, all.length, 'arrayBufferSource', name);
      return options?.into === undefined
        ? all.slice(start, end)
        : delivered(all.subarray(start, end), options, 'arrayBufferSource', name);
    },
  };
}

/** A `Blob` or a `File` that the user picked. Only the ranges asked for are read. Rejects with `IO` when the file went away. */
export function blobSource(blob: Blob, name?: string): ByteSource {
  const label = name ?? (blob as { name?: string }).name ?? 'blob';
  return {
    name: label,
    size: blob.size,
    async read(start, end, options) {
      const where = 'blobSource';
      throwIfAborted(options?.signal, where);
      checkByteRange(start, end, blob.size, where, label);
      let buffer: ArrayBuffer;
      try {
        buffer = await blob.slice(start, end).arrayBuffer();
      } catch (cause) {
        throw new HalftoneError('IO', `${label}: bytes [${start}, ${end}) cannot be read; pick the file again`, {
          where,
          details: { start, end },
          cause,
        });
      }
      throwIfAborted(options?.signal, where);
      if (buffer.byteLength !== end - start) {
        throw new HalftoneError('IO', `${label}: got ${buffer.byteLength} bytes instead of ${end - start}`, {
          where,
          details: { start, end, received: buffer.byteLength },
        });
      }
      return delivered(new Uint8Array(buffer), options, where, label);
    },
  };
}

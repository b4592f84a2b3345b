import { type ByteSource, HalftoneError, type ReadOptions } from '@halftone/tensor';
import { type DecodedText, utf8Decoder } from './utf8.js';

const FIRST_WINDOW = 256 * 1024;
const LARGEST_WINDOW = 8 * 1024 * 1024;

export interface CursorLimits {
  readonly where: string;
  /** Bytes that the header may take at most, whatever the file's size. */
  readonly maxBytes: number;
}

/** Reads a source forward through a window, so that a header of unknown length costs few reads and little memory. */
export interface ByteCursor {
  /** Offset in the source of the next byte. */
  readonly position: number;
  /** Bytes that may still be read. */
  readonly remaining: number;
  /** True when `count` bytes are in the window, so that the `take` functions need no `fill`. */
  has(count: number): boolean;
  /** Brings `count` bytes into the window. Throws `FORMAT` when the source ends before. */
  fill(count: number, what: string): Promise<void>;
  takeBytes(count: number): Uint8Array;
  /** The next `count` bytes as UTF-8. */
  takeText(count: number): DecodedText;
  takeU32(): number;
  takeU64(): bigint;
}

export function byteCursor(source: ByteSource, limits: CursorLimits, options?: ReadOptions): ByteCursor {
  const { where, maxBytes } = limits;
  const decodeUtf8 = utf8Decoder();
  const end = Math.min(source.size, maxBytes);
  let window = new Uint8Array(0);
  let view = new DataView(window.buffer);
  let windowStart = 0;
  let at = 0;
  let windowSize = FIRST_WINDOW;

  return {
    get position() {
      return windowStart + at;
    },
    get remaining() {
      return end - windowStart - at;
    },
    has(count) {
      return window.length - at >= count;
    },
    async fill(count, what) {
      const position = windowStart + at;
      if (count > end - position) {
        const reason =
          end === source.size ? 'the file is cut off or damaged' : `headers are limited to ${maxBytes} bytes`;
        throw new HalftoneError(
          'FORMAT',
          `${source.name}: ${what} needs ${count} bytes at offset ${position}, ${end - position} are left; ${reason}`,
          { where, details: { offset: position, needed: count, remaining: end - position } },
        );
      }
      const rest = window.subarray(at);
      const stop = Math.min(end, position + Math.max(count, windowSize));
      windowSize = Math.min(windowSize * 2, LARGEST_WINDOW);
      const more = await source.read(position + rest.length, stop, options);
      const next = new Uint8Array(rest.length + more.length);
      next.set(rest);
      next.set(more, rest.length);
      window = next;
      view = new DataView(window.buffer);
      windowStart = position;
      at = 0;
    },
    takeBytes(count) {
      const bytes = window.subarray(at, at + count);
      at += count;
      return bytes;
    },
    takeText(count) {
      at += count;
      return decodeUtf8(window.subarray(at - count, at));
    },
    takeU32() {
      const value = view.getUint32(at, true);
      at += 4;
      return value;
    },
    takeU64() {
      const value = view.getBigUint64(at, true);
      at += 8;
      return value;
    },
  };
}

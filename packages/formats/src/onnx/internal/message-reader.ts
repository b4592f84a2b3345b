import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type ByteSource, HalftoneError, type ReadOptions, throwIfAborted } from '@halftone/tensor';
import { utf8Decoder } from '../../internal/utf8.js';

/** Bytes `[start, end)` of the source. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** One field of a message. The range is that of its content: of a varint its bytes, of a string or message what follows the length. */
export interface Field extends Range {
  readonly number: number;
  readonly wireType: WireType;
  /** Of a varint, as a signed 64-bit number. */
  readonly value: bigint;
}

/** Walks protobuf messages in a source of any size, reading only what is asked for and the tags on the way. */
export interface MessageReader {
  /** Visits the fields of a message in order. Throws `FORMAT` for bytes that are not protobuf. */
  fields(message: Range, visit: (field: Field) => void | Promise<void>): Promise<void>;
  /** Content of a field, at most `limit` bytes, else `FORMAT`. Valid until the next read. */
  bytes(field: Range, limit: number, what: string): Promise<Uint8Array>;
  /** Throws `FORMAT` for bytes that are not UTF-8. */
  text(field: Range, limit: number, what: string): Promise<string>;
}

/** A tag and a varint or length, at their longest. */
const LONGEST_HEAD = 15;
/** Fields that one reader visits: bounds the time that a hostile file takes. */
const MOST_FIELDS = 2 ** 22;
const FIRST_WINDOW = 4 * 1024;
const LARGEST_WINDOW = 1024 * 1024;

export function messageReader(source: ByteSource, where: string, options?: ReadOptions): MessageReader {
  const decodeUtf8 = utf8Decoder();
  let window = new Uint8Array(0);
  let reader = new BinaryReader(window);
  let windowStart = 0;
  let windowSize = FIRST_WINDOW;
  let visited = 0;

  /** Brings `[position, end)`, which lies in the source, into the window. Jumps start small again: skipped weights cost little. */
  async function load(position: number, end: number): Promise<void> {
    const windowEnd = windowStart + window.length;
    if (position >= windowStart && end <= windowEnd) return;
    throwIfAborted(options?.signal, where);
    const follows = position >= windowStart && position <= windowEnd;
    windowSize = follows ? Math.min(2 * windowSize, LARGEST_WINDOW) : FIRST_WINDOW;
    const stop = Math.min(source.size, Math.max(end, position + windowSize));
    window = new Uint8Array(await source.read(position, stop, options));
    reader = new BinaryReader(window);
    windowStart = position;
  }

  function parse(position: number, end: number): Field {
    reader.pos = position - windowStart;
    try {
      const [number, wireType] = reader.tag();
      if (wireType === WireType.Varint) {
        const start = windowStart + reader.pos;
        const value = BigInt(reader.int64());
        return inside({ number, wireType, value, start, end: windowStart + reader.pos }, position, end);
      }
      const fixed = wireType === WireType.Bit32 ? 4 : wireType === WireType.Bit64 ? 8 : undefined;
      if (fixed === undefined && wireType !== WireType.LengthDelimited) {
        return fail(`group of field ${number}, which ONNX does not use`, position);
      }
      const length = fixed ?? Number(BigInt(reader.uint64()));
      const start = windowStart + reader.pos;
      return inside({ number, wireType, value: 0n, start, end: start + length }, position, end);
    } catch (cause) {
      if (cause instanceof HalftoneError) throw cause;
      return fail('a tag that is not protobuf', position, cause);
    }
  }

  function inside(field: Field, position: number, end: number): Field {
    return field.end <= end ? field : fail(`field ${field.number}, which ends beyond its message`, position);
  }

  function fail(what: string, offset: number, cause?: unknown): never {
    throw new HalftoneError('FORMAT', `${source.name}: ${what} at offset ${offset}; the file is cut off or damaged`, {
      where,
      details: { offset },
      cause,
    });
  }

  async function bytes(field: Range, limit: number, what: string): Promise<Uint8Array> {
    if (field.end - field.start > limit) {
      fail(`${what} of ${field.end - field.start} bytes (at most ${limit} are read)`, field.start);
    }
    await load(field.start, field.end);
    return window.subarray(field.start - windowStart, field.end - windowStart);
  }

  return {
    async fields({ start, end }, visit) {
      for (let position = start; position < end; ) {
        const needed = Math.min(end, position + LONGEST_HEAD);
        if (position < windowStart || needed > windowStart + window.length) await load(position, needed);
        if (++visited > MOST_FIELDS) fail(`more than ${MOST_FIELDS} fields`, position);
        const field = parse(position, end);
        position = field.end;
        const pending = visit(field);
        if (pending !== undefined) await pending;
      }
    },
    bytes,
    async text(field, limit, what) {
      const { text, raw } = decodeUtf8(await bytes(field, limit, what));
      return raw === undefined ? text : fail(`${what} that is not UTF-8`, field.start);
    },
  };
}

/** The numbers of a packed field, each as `next` reads it. Throws `FORMAT` where the bytes are not whole numbers. */
export function* packedNumbers<T>(bytes: Uint8Array, next: (reader: BinaryReader) => T): Generator<T> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    let value: T;
    try {
      value = next(reader);
    } catch (cause) {
      throw new HalftoneError('FORMAT', 'a number is cut off; the file is damaged', { where: 'onnx', cause });
    }
    yield value;
  }
}

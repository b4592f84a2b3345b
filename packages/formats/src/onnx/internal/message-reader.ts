import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type ByteSource, HalftoneError, type ReadOptions, throwIfAborted } from '@halftone/tensor';
import { utf8Decoder } from '../../internal/utf8.js';

/** Bytes `[start, end)` of the source. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** One field of a message. The range is that of its content, without tag and length. */
export interface Field extends Range {
  readonly number: number;
  readonly wireType: WireType;
  /** Of a varint, as a signed 64-bit number. */
  readonly value: bigint;
}

/** One field of a message in memory. */
export interface MemoryField {
  readonly number: number;
  readonly wireType: WireType;
  readonly value: bigint;
  readonly bytes: Uint8Array;
}

/** Walks protobuf messages in a source of any size, reading only what is asked for and the tags on the way. */
export interface MessageReader {
  /** Visits the fields of a message in order. Throws `FORMAT` for bytes that are not protobuf. */
  fields(message: Range, visit: (field: Field) => void | Promise<void>): Promise<void>;
  /** Content of a field, at most `limit` bytes, else `FORMAT`. Valid until the next read. */
  bytes(field: Range, limit: number, what: string): Promise<Uint8Array>;
  text(field: Range, limit: number, what: string): Promise<string>;
  /** Visits the fields of a message in memory, which is much faster. Throws as `fields` does. */
  parse(message: Uint8Array, visit: (field: MemoryField) => void): void;
  /** Throws `FORMAT` for bytes that are not UTF-8. */
  decodeText(bytes: Uint8Array, what: string): string;
}

/** A tag and a varint or length, at their longest. */
const LONGEST_HEAD = 15;
/** Fields that one reader visits: bounds the time that a hostile file takes. */
const MOST_FIELDS = 2 ** 22;
const FIRST_WINDOW = 4 * 1024;
const LARGEST_WINDOW = 1024 * 1024;

export function messageReader(source: ByteSource, where: string, options?: ReadOptions): MessageReader {
  const decodeUtf8 = utf8Decoder();
  let window: Uint8Array = new Uint8Array(0);
  let reader = new BinaryReader(window);
  let windowStart = 0;
  let windowSize = FIRST_WINDOW;
  let visited = 0;

  /**
   * Brings `[position, end)`, which lies in the source, into the window. Jumps start small again: skipped weights cost
   * little.
   */
  async function load(position: number, end: number): Promise<void> {
    const windowEnd = windowStart + window.length;
    if (position >= windowStart && end <= windowEnd) return;
    throwIfAborted(options?.signal, where);
    const follows = position >= windowStart && position <= windowEnd;
    windowSize = follows ? Math.min(2 * windowSize, LARGEST_WINDOW) : FIRST_WINDOW;
    const stop = Math.min(source.size, Math.max(end, position + windowSize));
    window = await source.read(position, stop, options);
    reader = new BinaryReader(window);
    windowStart = position;
  }

  /** The field at the reader's position; positions are those of the reader. */
  function readField(from: BinaryReader, end: number): Field {
    if (++visited > MOST_FIELDS) throw new Error(`more than ${MOST_FIELDS} fields`);
    const [number, wireType] = from.tag();
    if (wireType === WireType.Varint) {
      const start = from.pos;
      const value = BigInt(from.int64());
      return inside({ number, wireType, value, start, end: from.pos }, end);
    }
    const fixed = wireType === WireType.Bit32 ? 4 : wireType === WireType.Bit64 ? 8 : undefined;
    if (fixed === undefined && wireType !== WireType.LengthDelimited) {
      throw new Error(`group of field ${number}, which ONNX does not use`);
    }
    const length = fixed ?? Number(BigInt(from.uint64()));
    return inside({ number, wireType, value: 0n, start: from.pos, end: from.pos + length }, end);
  }

  function inside(field: Field, end: number): Field {
    if (field.end <= end) return field;
    throw new Error(`field ${field.number} ends beyond its message`);
  }

  function fieldAt(position: number, end: number): Field {
    reader.pos = position - windowStart;
    try {
      const field = readField(reader, end - windowStart);
      return { ...field, start: windowStart + field.start, end: windowStart + field.end };
    } catch (cause) {
      return fail(String((cause as Error).message), position, cause);
    }
  }

  function parse(message: Uint8Array, visit: (field: MemoryField) => void): void {
    const from = new BinaryReader(message);
    while (from.pos < message.length) {
      let field: Field;
      try {
        field = readField(from, message.length);
      } catch (cause) {
        fail(String((cause as Error).message), windowStart, cause);
      }
      from.pos = field.end;
      const { number, wireType, value } = field;
      visit({ number, wireType, value, bytes: message.subarray(field.start, field.end) });
    }
  }

  function fail(what: string, offset: number, cause?: unknown): never {
    throw new HalftoneError(
      'FORMAT',
      `${source.name}: ${what}, near offset ${offset}; the file is cut off or damaged`,
      {
        where,
        details: { offset },
        cause,
      },
    );
  }

  function decodeText(content: Uint8Array, what: string): string {
    const { text, raw } = decodeUtf8(content);
    return raw === undefined ? text : fail(`${what} that is not UTF-8`, windowStart);
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
        const field = fieldAt(position, end);
        position = field.end;
        const pending = visit(field);
        if (pending !== undefined) await pending;
      }
    },
    bytes,
    text: async (field, limit, what) => decodeText(await bytes(field, limit, what), what),
    parse,
    decodeText,
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

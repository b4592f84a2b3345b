import {
  type ByteSource,
  HalftoneError,
  type MetadataValue,
  type ReadOptions,
  type Shape,
  type StorageType,
} from '@halftone/tensor';
import {
  GGUF_ARRAY_ID,
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAX_DIMENSIONS,
  GGUF_MAX_NAME_BYTES,
  GGUF_SCALAR_BYTES,
  type GgufScalarType,
  type GgufValue,
  ggmlTypeName,
  ggufScalarType,
  storageTypeOf,
} from './gguf-types.js';
import { type ByteCursor, byteCursor } from './internal/byte-cursor.js';
import { alignUp, ggmlTensorBytes } from './internal/tensor-size.js';
import type { DecodedText } from './internal/utf8.js';

/** Largest header that is read: vocabularies take tens of megabytes, a gigabyte is damage. */
export const GGUF_MAX_HEADER_BYTES = 512 * 1024 * 1024;

const MAGIC = 0x46554747;
/** Name length, dimension count, type and offset: the least that a tensor's entry takes. */
const LEAST_TENSOR_INFO_BYTES = 8 + 4 + 4 + 8;
/** Key length, one character, type and a one-byte value. */
const LEAST_ENTRY_BYTES = 8 + 1 + 4 + 1;

export interface GgufTensorInfo {
  readonly name: string;
  readonly dtype: StorageType;
  /** Row-major, outermost first: the reverse of ggml's `ne`. */
  readonly shape: Shape;
  /** Relative to the start of the data. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly alignment: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In file order. */
  readonly tensors: readonly GgufTensorInfo[];
  /** Where the data starts. */
  readonly dataOffset: number;
}

/**
 * Reads the header of a GGUF v2 or v3 file through a growing window: of a file with gigabytes of weights only the first
 * megabytes are fetched. Every count is bounded by the bytes that are left before anything is allocated. Tensors without
 * elements and without dimensions are read, as ggml reads them.
 *
 * Throws `FORMAT` for damage, `UNSUPPORTED` for version 1, big-endian files, nested arrays and ggml types not read here.
 * Source: ggml/src/gguf.cpp.
 */
export async function readGgufHeader(source: ByteSource, options?: ReadOptions): Promise<GgufHeader> {
  const cursor = byteCursor(source, { where: 'gguf', maxBytes: GGUF_MAX_HEADER_BYTES }, options);
  await cursor.fill(8, 'the magic and version');
  if (cursor.takeU32() !== MAGIC) fail(`${source.name}: does not start with "GGUF"; the file is not GGUF`);
  const version = cursor.takeU32();
  if (version % 0x10000 === 0 && version !== 0) {
    unsupported(`${source.name}: the file is big-endian; convert it with gguf_convert_endian.py`, { version });
  }
  if (version === 1) unsupported(`${source.name}: GGUF version 1 is obsolete; convert the model again`, { version });
  if (version !== 2 && version !== 3) unsupported(`${source.name}: GGUF version ${version} is not known`, { version });
  await cursor.fill(16, 'the counts');
  const tensorCount = boundedCount(cursor, cursor.takeU64(), LEAST_TENSOR_INFO_BYTES, 'tensors');
  const entryCount = boundedCount(cursor, cursor.takeU64(), LEAST_ENTRY_BYTES, 'metadata entries');

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const keyAt = cursor.position;
    const key = await readString(cursor, `the key of metadata entry ${i}`);
    if (key.raw !== undefined) fail(`metadata entry ${i} at offset ${keyAt}: its key is not UTF-8`, { offset: keyAt });
    if (key.text === '') fail(`metadata entry ${i} at offset ${keyAt}: its key is empty`, { offset: keyAt });
    if (metadata.has(key.text))
      fail(`metadata key ${key.text} occurs twice, at offset ${keyAt}`, { offset: keyAt, key: key.text });
    metadata.set(key.text, await readValue(cursor, key.text));
  }
  const alignment = readAlignment(metadata);

  const tensors: GgufTensorInfo[] = [];
  const names = new Set<string>();
  let offset = 0;
  for (let i = 0; i < tensorCount; i++) {
    const info = await readTensorInfo(cursor, i, offset);
    if (names.has(info.name)) fail(`tensor ${info.name} occurs twice`, { name: info.name });
    names.add(info.name);
    tensors.push(info);
    offset += alignUp(info.byteLength, alignment);
  }
  const dataOffset = alignUp(cursor.position, alignment);
  const last = tensors.at(-1);
  if (last !== undefined && dataOffset + last.offset + last.byteLength > source.size) {
    const end = dataOffset + last.offset + last.byteLength;
    fail(`${source.name}: ${last.name} ends at byte ${end} but the file has ${source.size}; the file is cut off`, {
      name: last.name,
      end,
      size: source.size,
    });
  }
  return { version, alignment, metadata, tensors, dataOffset };
}

function readAlignment(metadata: ReadonlyMap<string, GgufValue>): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return GGUF_DEFAULT_ALIGNMENT;
  const { type, value } = entry;
  if (type !== 'u32' || typeof value !== 'number' || value === 0 || (value & (value - 1)) !== 0) {
    fail(`general.alignment is ${type} ${String(value)}, expected a u32 that is a power of two`, { type, value });
  }
  return value;
}

async function readTensorInfo(cursor: ByteCursor, index: number, expectedOffset: number): Promise<GgufTensorInfo> {
  const nameAt = cursor.position;
  const nameString = await readString(cursor, `the name of tensor ${index}`, GGUF_MAX_NAME_BYTES);
  const name = nameString.text;
  if (nameString.raw !== undefined)
    fail(`tensor ${index} at offset ${nameAt}: its name is not UTF-8`, { offset: nameAt });
  if (!cursor.has(4)) await cursor.fill(4, `${name}: dimension count`);
  const dimensions = cursor.takeU32();
  if (dimensions > GGUF_MAX_DIMENSIONS) {
    fail(`${name}: ${dimensions} dimensions, expected ${GGUF_MAX_DIMENSIONS} at most`, { name, dimensions });
  }
  if (!cursor.has(dimensions * 8 + 12)) await cursor.fill(dimensions * 8 + 12, `${name}: shape, type and offset`);
  const shape = Array.from({ length: dimensions }, () => Number(cursor.takeU64())).reverse();
  const typeId = cursor.takeU32();
  const offset = cursor.takeU64();
  const dtype = storageTypeOf(typeId);
  if (dtype === undefined) {
    unsupported(`${name}: ggml type ${typeId} (${ggmlTypeName(typeId)}) is not supported; use a file of another type`, {
      name,
      typeId,
      typeName: ggmlTypeName(typeId),
    });
  }
  if (!shape.every((dimension) => Number.isSafeInteger(dimension))) {
    fail(`${name}: shape [${shape}] has a dimension that is not from 0 to 2^53 - 1`, { name, shape });
  }
  const byteLength = ggmlTensorBytes(name, dtype, shape);
  if (offset !== BigInt(expectedOffset)) {
    fail(
      `${name}: data offset ${offset}, expected ${expectedOffset} (tensors lie one after the other); the file is damaged`,
      {
        name,
        offset,
        expected: expectedOffset,
      },
    );
  }
  return { name, dtype, shape, offset: expectedOffset, byteLength };
}

async function readValue(cursor: ByteCursor, key: string): Promise<GgufValue> {
  if (!cursor.has(4)) await cursor.fill(4, `${key}: type`);
  const typeId = cursor.takeU32();
  if (typeId !== GGUF_ARRAY_ID) {
    const type = ggufScalarType(typeId);
    if (type === undefined) fail(`${key}: metadata type ${typeId} does not exist`, { key, typeId });
    return readScalar(cursor, type, key);
  }
  if (!cursor.has(12)) await cursor.fill(12, `${key}: array header`);
  const itemId = cursor.takeU32();
  const length = cursor.takeU64();
  if (itemId === GGUF_ARRAY_ID)
    unsupported(`${key}: arrays of arrays are not supported; llama.cpp refuses them too`, { key });
  const type = ggufScalarType(itemId);
  if (type === undefined) fail(`${key}: array element type ${itemId} does not exist`, { key, typeId: itemId });
  const count = boundedCount(cursor, length, GGUF_SCALAR_BYTES[type], `${key}: array items`);
  return type === 'string' ? readStrings(cursor, key, count) : readNumbers(cursor, key, type, count);
}

async function readScalar(cursor: ByteCursor, type: GgufScalarType, key: string): Promise<GgufValue> {
  if (type === 'string') {
    const { text, raw } = await readString(cursor, key);
    return raw === undefined ? { type, value: text } : { type, value: text, rawStrings: new Map([[0, raw]]) };
  }
  const { value } = await readNumbers(cursor, key, type, 1);
  const first = (value as ArrayLike<number | bigint | boolean>)[0] as number | bigint | boolean;
  const exact = typeof first === 'bigint' && Number.isSafeInteger(Number(first));
  return { type, value: exact ? Number(first) : first };
}

async function readStrings(cursor: ByteCursor, key: string, count: number): Promise<GgufValue> {
  const value: string[] = [];
  const rawStrings = new Map<number, Uint8Array>();
  for (let i = 0; i < count; i++) {
    // One await for each window and not for each string: vocabularies have hundreds of thousands.
    if (!cursor.has(8)) await cursor.fill(8, key);
    const length = boundedCount(cursor, cursor.takeU64(), 1, `${key}: bytes of string ${i}`);
    if (!cursor.has(length)) await cursor.fill(length, key);
    const { text, raw } = cursor.takeText(length);
    value.push(text);
    if (raw !== undefined) rawStrings.set(i, raw);
  }
  return rawStrings.size === 0 ? { type: 'string[]', value } : { type: 'string[]', value, rawStrings };
}

async function readNumbers(
  cursor: ByteCursor,
  key: string,
  type: Exclude<GgufScalarType, 'string'>,
  count: number,
): Promise<GgufValue> {
  const byteLength = count * GGUF_SCALAR_BYTES[type];
  if (!cursor.has(byteLength)) await cursor.fill(byteLength, key);
  // A copy: typed arrays need aligned bytes.
  const bytes = cursor.takeBytes(byteLength).slice();
  return { type: `${type}[]`, value: typedItems(type, bytes) };
}

function typedItems(type: Exclude<GgufScalarType, 'string'>, bytes: Uint8Array): MetadataValue {
  const { buffer } = bytes;
  switch (type) {
    case 'u8':
      return bytes;
    case 'i8':
      return new Int8Array(buffer);
    case 'u16':
      return new Uint16Array(buffer);
    case 'i16':
      return new Int16Array(buffer);
    case 'u32':
      return new Uint32Array(buffer);
    case 'i32':
      return new Int32Array(buffer);
    case 'f32':
      return new Float32Array(buffer);
    case 'f64':
      return new Float64Array(buffer);
    case 'u64':
      return new BigUint64Array(buffer);
    case 'i64':
      return new BigInt64Array(buffer);
    case 'bool':
      return Array.from(bytes, (byte) => byte !== 0);
  }
}

async function readString(cursor: ByteCursor, what: string, maxBytes?: number): Promise<DecodedText> {
  if (!cursor.has(8)) await cursor.fill(8, what);
  const length = boundedCount(cursor, cursor.takeU64(), 1, `bytes of ${what}`);
  if (maxBytes !== undefined && length > maxBytes) {
    fail(`${what}: ${length} bytes, at most ${maxBytes} are allowed`, { length, maxBytes, offset: cursor.position });
  }
  if (!cursor.has(length)) await cursor.fill(length, what);
  return cursor.takeText(length);
}

function boundedCount(cursor: ByteCursor, count: bigint, leastBytes: number, what: string): number {
  if (count > BigInt(Math.floor(cursor.remaining / leastBytes))) {
    fail(
      `${count} ${what} do not fit in the ${cursor.remaining} bytes left at offset ${cursor.position}; the file is damaged`,
      {
        count,
        offset: cursor.position,
        remaining: cursor.remaining,
      },
    );
  }
  return Number(count);
}

function fail(message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'gguf', details });
}

function unsupported(message: string, details: Record<string, unknown>): never {
  throw new HalftoneError('UNSUPPORTED', message, { where: 'gguf', details });
}

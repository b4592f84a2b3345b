import { WireType } from '@bufbuild/protobuf/wire';
import { DTYPES, type DType, HalftoneError, type Shape } from '@halftone/tensor';
import { tensorElements } from '../../internal/tensor-size.js';
import { ONNX_DATA_TYPES, ONNX_OTHER_TYPES } from '../data-types.js';
import type { OnnxExternalData } from '../model.js';
import { type Field, type MessageReader, packedNumbers, type Range } from './message-reader.js';
import { ENTRY, EXTERNAL, TENSOR } from './onnx-proto.js';

/** Where the elements of an initializer are. */
export type ElementPlace =
  /** Dense and little-endian in the file. */
  | { readonly type: 'raw'; readonly range: Range }
  /** In fields of the tensor's message, one varint (or several packed) for each element. */
  | { readonly type: 'typed'; readonly field: number; readonly message: Range; readonly byteLength: number }
  | { readonly type: 'external'; readonly data: OnnxExternalData };

export interface StoredInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly place: ElementPlace;
}

export const WHERE = 'onnx';
const LONGEST_NAME = 64 * 1024;
const HIGHEST_RANK = 64;

/** The field that keeps elements of a type one by one. Source: the comments of TensorProto. */
function typedField(dtype: DType): number {
  if (dtype === 'f32') return TENSOR.floatData;
  if (dtype === 'f64') return TENSOR.doubleData;
  if (dtype === 'i64') return TENSOR.int64Data;
  return dtype === 'u32' || dtype === 'u64' ? TENSOR.uint64Data : TENSOR.int32Data;
}

interface Draft {
  name: string;
  dims: number[];
  dataType: number;
  raw?: Range;
  location: bigint;
  readonly external: Map<string, string>;
  /** Field number to its occurrences: how many, of how many bytes, and the last. */
  readonly typed: Map<number, { count: number; bytes: number; last: Field }>;
}

/** A `TensorProto` of a graph. Reads all of it but the elements. Throws `FORMAT` and `UNSUPPORTED`. */
export async function readInitializer(reader: MessageReader, message: Range): Promise<StoredInitializer> {
  const draft: Draft = { name: '', dims: [], dataType: 0, location: 0n, external: new Map(), typed: new Map() };
  await reader.fields(message, (field) => readField(reader, draft, field));
  if (draft.name === '') fail('FORMAT', `an initializer at offset ${message.start} has no name`, draft);
  const dtype = ONNX_DATA_TYPES[draft.dataType];
  if (dtype === undefined) {
    const type = ONNX_OTHER_TYPES[draft.dataType];
    if (type === undefined) fail('FORMAT', `${draft.name}: data type ${draft.dataType} is unknown`, draft);
    fail('UNSUPPORTED', `${draft.name}: tensors of ${type} are not read`, draft);
  }
  const elements = tensorElements(draft.name, draft.dims, WHERE);
  const byteLength = Math.ceil((elements * DTYPES[dtype].bits) / 8);
  return { name: draft.name, dtype, shape: draft.dims, place: findElements(draft, message, dtype, byteLength) };
}

async function readField(reader: MessageReader, draft: Draft, field: Field): Promise<void> {
  switch (field.number) {
    case TENSOR.name:
      draft.name = await reader.text(field, LONGEST_NAME, 'the name of an initializer');
      return;
    case TENSOR.dims:
      return readDims(reader, draft, field);
    case TENSOR.dataType:
      draft.dataType = Number(field.value);
      return;
    case TENSOR.rawData:
      if (draft.raw !== undefined) fail('FORMAT', `${draft.name}: raw_data appears twice`, draft);
      draft.raw = { start: field.start, end: field.end };
      return;
    case TENSOR.externalData:
      return readEntry(reader, field, draft.external);
    case TENSOR.dataLocation:
      draft.location = field.value;
      return;
    case TENSOR.segment:
      return fail('UNSUPPORTED', `${draft.name}: tensors in segments are not read`, draft);
    case TENSOR.floatData:
    case TENSOR.doubleData:
    case TENSOR.int32Data:
    case TENSOR.int64Data:
    case TENSOR.uint64Data: {
      const before = draft.typed.get(field.number);
      const bytes = (before?.bytes ?? 0) + field.end - field.start;
      draft.typed.set(field.number, { count: (before?.count ?? 0) + 1, bytes, last: field });
    }
  }
}

async function readDims(reader: MessageReader, draft: Draft, field: Field): Promise<void> {
  const add = (value: bigint) => {
    if (value < 0n || value > 2n ** 50n || draft.dims.length === HIGHEST_RANK) {
      fail('FORMAT', `${draft.name}: dimension ${draft.dims.length} is ${value}; the file is damaged`, draft);
    }
    draft.dims.push(Number(value));
  };
  if (field.wireType === WireType.Varint) return add(field.value);
  const packed = await reader.bytes(field, 10 * HIGHEST_RANK, 'the dimensions of a tensor');
  for (const value of packedNumbers(packed, (numbers) => BigInt(numbers.int64()))) add(value);
}

/** A key and a value, into a map that has each key once. */
export async function readEntry(reader: MessageReader, message: Range, into: Map<string, string>): Promise<void> {
  let key = '';
  let value = '';
  await reader.fields(message, async (field) => {
    if (field.number === ENTRY.key) key = await reader.text(field, LONGEST_NAME, 'a key');
    if (field.number === ENTRY.value) value = await reader.text(field, 16 * 1024 * 1024, `the value of ${key}`);
  });
  if (into.has(key)) {
    throw new HalftoneError('FORMAT', `key ${JSON.stringify(key)} appears twice`, { where: WHERE, details: { key } });
  }
  into.set(key, value);
}

function findElements(draft: Draft, message: Range, dtype: DType, byteLength: number): ElementPlace {
  if (draft.location === BigInt(EXTERNAL)) return { type: 'external', data: externalData(draft, byteLength) };
  if (draft.raw !== undefined) return rawPlace(draft, draft.raw, byteLength);
  const field = typedField(dtype);
  const typed = draft.typed.get(field);
  if (typed === undefined) return rawPlace(draft, { start: message.start, end: message.start }, byteLength);
  const packedOnce = typed.count === 1 && typed.last.wireType === WireType.LengthDelimited;
  if ((dtype === 'f32' || dtype === 'f64') && packedOnce) return rawPlace(draft, typed.last, byteLength);
  // A varint of one byte holds up to eight bytes of elements.
  if (byteLength > 8 * typed.bytes) {
    fail('FORMAT', `${draft.name}: ${typed.bytes} bytes of data are too few for shape [${draft.dims}]`, draft);
  }
  return { type: 'typed', field, message, byteLength: typed.bytes };
}

function rawPlace(draft: Draft, { start, end }: Range, byteLength: number): ElementPlace {
  if (end - start === byteLength) return { type: 'raw', range: { start, end } };
  return fail(
    'FORMAT',
    `${draft.name}: shape [${draft.dims}] takes ${byteLength} bytes, the file has ${end - start} for it`,
    draft,
  );
}

function externalData({ name, external }: Draft, byteLength: number): OnnxExternalData {
  const location = external.get('location') ?? '';
  const offset = wholeNumber(external.get('offset') ?? '0');
  const length = wholeNumber(external.get('length') ?? String(byteLength));
  if (!isSafeLocation(location)) {
    throw new HalftoneError(
      'FORMAT',
      `${name}: its data is said to be in ${JSON.stringify(location)}, which is not a path inside the model's folder`,
      { where: WHERE, details: { name, location } },
    );
  }
  if (offset === undefined || length !== byteLength) {
    throw new HalftoneError(
      'FORMAT',
      `${name}: external data at ${external.get('offset')} of ${external.get('length')} bytes, expected ${byteLength} bytes`,
      { where: WHERE, details: { name, byteLength } },
    );
  }
  return { location, offset, length };
}

function wholeNumber(text: string): number | undefined {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A relative path with `/`, without steps up, drives, or characters that some system reads in its own way. */
function isSafeLocation(location: string): boolean {
  if (location.length > 4096) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused.
  if (/[\\:\u0000-\u001f]/.test(location)) return false;
  return location.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, { name }: Draft): never {
  throw new HalftoneError(code, message, { where: WHERE, details: { name } });
}

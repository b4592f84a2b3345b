import { HalftoneError } from '@halftone/tensor';
import {
  GGUF_ARRAY_ID,
  GGUF_SCALAR_BYTES,
  GGUF_SCALAR_IDS,
  type GgufMetadataEntry,
  type GgufScalarType,
} from '../gguf-types.js';
import type { ByteBuilder } from './byte-builder.js';
import { isWellFormed } from './utf8.js';

const INTEGER_RANGES: Readonly<Partial<Record<GgufScalarType, readonly [bigint, bigint]>>> = {
  u8: [0n, 0xffn],
  i8: [-0x80n, 0x7fn],
  u16: [0n, 0xffffn],
  i16: [-0x8000n, 0x7fffn],
  u32: [0n, 0xffff_ffffn],
  i32: [-0x8000_0000n, 0x7fff_ffffn],
  u64: [0n, 0xffff_ffff_ffff_ffffn],
  i64: [-0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn],
};

/** Writes a metadata entry: key, type, value. Throws `DTYPE` when the value does not fit its type. */
export function writeGgufEntry(builder: ByteBuilder, entry: GgufMetadataEntry): void {
  const { key, type, value, rawStrings } = entry;
  if (!isWellFormed(key)) fail(JSON.stringify(key), 'is not valid Unicode; rename it');
  builder.string(key);
  const isArray = type.endsWith('[]');
  const scalar = (isArray ? type.slice(0, -2) : type) as GgufScalarType;
  if (!Object.hasOwn(GGUF_SCALAR_IDS, scalar)) fail(key, `the type ${type} does not exist in GGUF`);
  if (isArray && (typeof value !== 'object' || typeof value.length !== 'number'))
    fail(key, `is not an array, but its type is ${type}`);
  if (!isArray && typeof value === 'object') fail(key, `is an array, but its type is ${type}`);
  const items = (isArray ? value : [value]) as ArrayLike<unknown>;
  if (isArray) {
    builder.u32(GGUF_ARRAY_ID);
    builder.u32(GGUF_SCALAR_IDS[scalar]);
    builder.u64(items.length);
  } else {
    builder.u32(GGUF_SCALAR_IDS[scalar]);
  }
  if (scalar === 'string') {
    for (let i = 0; i < items.length; i++) {
      const item = rawStrings?.get(i) ?? items[i];
      if (typeof item !== 'string' && !(item instanceof Uint8Array)) fail(key, `item ${i} is not a string`);
      if (typeof item === 'string' && !isWellFormed(item))
        fail(key, `item ${i} is not valid Unicode; give its bytes in rawStrings`);
      builder.string(item);
    }
    return;
  }
  const size = GGUF_SCALAR_BYTES[scalar];
  const bytes = new Uint8Array(items.length * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < items.length; i++) writeItem(view, i * size, scalar, items[i], key);
  builder.bytes(bytes);
}

function writeItem(
  view: DataView,
  at: number,
  type: Exclude<GgufScalarType, 'string'>,
  item: unknown,
  key: string,
): void {
  if (type === 'bool') {
    if (typeof item !== 'boolean') fail(key, `${String(item)} is not a boolean`);
    view.setUint8(at, item ? 1 : 0);
    return;
  }
  if (type === 'f32' || type === 'f64') {
    if (typeof item !== 'number') fail(key, `${String(item)} is not a number`);
    if (type === 'f32') view.setFloat32(at, item, true);
    else view.setFloat64(at, item, true);
    return;
  }
  const [least, most] = INTEGER_RANGES[type] as readonly [bigint, bigint];
  if (
    (typeof item !== 'bigint' && !Number.isSafeInteger(item)) ||
    (item as number) < least ||
    (item as number) > most
  ) {
    fail(key, `${String(item)} does not fit ${type}`);
  }
  switch (type) {
    case 'u64':
      return view.setBigUint64(at, BigInt(item as number | bigint), true);
    case 'i64':
      return view.setBigInt64(at, BigInt(item as number | bigint), true);
    case 'u32':
      return view.setUint32(at, Number(item), true);
    case 'i32':
      return view.setInt32(at, Number(item), true);
    case 'u16':
      return view.setUint16(at, Number(item), true);
    case 'i16':
      return view.setInt16(at, Number(item), true);
    case 'u8':
      return view.setUint8(at, Number(item));
    case 'i8':
      return view.setInt8(at, Number(item));
  }
}

function fail(key: string, problem: string): never {
  throw new HalftoneError('DTYPE', `${key}: ${problem}`, { where: 'gguf', details: { key } });
}

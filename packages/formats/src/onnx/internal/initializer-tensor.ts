import { WireType } from '@bufbuild/protobuf/wire';
import { type ByteSource, DTYPES, HalftoneError, type LazyTensor, type ReadOptions } from '@halftone/tensor';
import { allocateBytes } from '../../internal/byte-range.js';
import { lazyTensor } from '../../internal/lazy-tensor.js';
import { arrayBufferSource } from '../../memory-source.js';
import type { OnnxExternalData } from '../model.js';
import { type Field, messageReader, packedNumbers } from './message-reader.js';
import { TENSOR } from './onnx-proto.js';
import { type ElementPlace, type StoredInitializer, WHERE } from './read-initializer.js';

/** Gives the source of external data, opened once. */
export type ExternalFiles = (data: OnnxExternalData, tensor: string) => Promise<ByteSource>;

/** An initializer as a tensor in its file. */
export function initializerTensor(source: ByteSource, stored: StoredInitializer, files: ExternalFiles): LazyTensor {
  const { name, dtype, shape, place } = stored;
  const over = (bytes: ByteSource, offset: number, byteLength: number) =>
    lazyTensor({ source: bytes, where: WHERE, name, dtype, shape, offset, byteLength });
  if (place.type === 'raw') {
    return over(source, place.range.start, place.range.end - place.range.start);
  }
  if (place.type === 'external') {
    const { offset, length } = place.data;
    const tensor = over(source, offset, length);
    return {
      ...tensor,
      read: async (rows, options) => over(await files(place.data, name), offset, length).read(rows, options),
    };
  }
  return {
    ...over(source, 0, place.byteLength),
    async read(rows, options) {
      const bytes = await readTyped(source, stored, place, { signal: options?.signal });
      return over(arrayBufferSource(bytes, source.name), 0, bytes.length).read(rows, options);
    },
  };
}

/** Elements that lie in `float_data`, `int32_data` and the like, as raw data has them. */
async function readTyped(
  source: ByteSource,
  { name, dtype, shape }: StoredInitializer,
  { field, message }: ElementPlace & { type: 'typed' },
  options: ReadOptions,
): Promise<Uint8Array> {
  const { bits } = DTYPES[dtype];
  const count = shape.reduce((product, size) => product * size, 1);
  const out = allocateBytes(Math.ceil((count * bits) / 8), WHERE, name);
  // Elements below 8 bits come as bytes of several.
  const width = Math.max(1, bits / 8);
  let at = 0;
  const damaged = (what: string): never => {
    throw new HalftoneError('FORMAT', `${name}: ${what} for shape [${shape}]; the file is damaged`, {
      where: WHERE,
      details: { name, shape },
    });
  };
  const view = new DataView(out.buffer);
  const put = (value: bigint | number) => {
    if (at + width > out.length) damaged('too many elements');
    if (width === 8) view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    else if (value >= 2 ** (8 * width) || value < -(2 ** (8 * width - 1)))
      damaged(`an element of ${value} is too wide`);
    else if (width === 4) view.setUint32(at, Number(value), true);
    else if (width === 2) view.setUint16(at, Number(value), true);
    else view.setUint8(at, Number(value));
    at += width;
  };
  const copy = (bytes: Uint8Array) => {
    if (bytes.length % width !== 0 || at + bytes.length > out.length) damaged('too many elements');
    out.set(bytes, at);
    at += bytes.length;
  };
  const reader = messageReader(source, WHERE, options);
  const isFloat = field === TENSOR.floatData || field === TENSOR.doubleData;
  const take = async (element: Field) => {
    if (element.number !== field) return;
    if (element.wireType === WireType.Varint) return put(element.value);
    const bytes = await reader.bytes(element, element.end - element.start, name);
    if (isFloat) return copy(bytes);
    const wide = field !== TENSOR.int32Data;
    for (const value of packedNumbers(bytes, (numbers) => (wide ? BigInt(numbers.int64()) : numbers.int32())))
      put(value);
  };
  await reader.fields(message, take);
  if (at !== out.length) damaged('too few elements');
  return out;
}

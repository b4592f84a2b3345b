import { DTYPES, type DType, HalftoneError, isDType, type TensorEntry } from '@halftone/tensor';
import { tensorElements } from '../internal/tensor-size.js';
import type { FileLayout } from '../tensor-writer.js';
import { parseNpyDictionary } from './internal/npy-dictionary.js';

const WHERE = 'npy';
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** Magic, version and the longer of both length fields. */
export const NPY_PREFIX_BYTES = 12;
/** Far beyond any header of one element type; numpy itself stops at 10,000 by default. */
const MAX_HEADER_BYTES = 65_536;
/** numpy's limit is 64 since version 2. */
const MAX_DIMENSIONS = 64;
const ALIGNMENT = 64;
/** numpy leaves room for the first dimension to grow to this many digits. */
const GROWTH_DIGITS = 21;

const DESCRIPTORS: Readonly<Record<string, DType>> = {
  b1: 'bool',
  i1: 'i8',
  i2: 'i16',
  i4: 'i32',
  i8: 'i64',
  u1: 'u8',
  u2: 'u16',
  u4: 'u32',
  u8: 'u64',
  f2: 'f16',
  f4: 'f32',
  f8: 'f64',
};

export interface NpyHeader {
  readonly dtype: DType;
  readonly bigEndian: boolean;
  /** The first index runs fastest in the file. */
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Of the first element, from the start of the array file. */
  readonly dataStart: number;
  readonly dataBytes: number;
}

export function isNpy(head: Uint8Array): boolean {
  return MAGIC.every((byte, i) => head[i] === byte);
}

/**
 * Bytes of the header, magic included, from the first `NPY_PREFIX_BYTES` of a file.
 * Throws `FORMAT` for other files and for headers beyond 64 KiB, `UNSUPPORTED` for versions other than 1 to 3.
 */
export function npyHeaderLength(head: Uint8Array, name: string): number {
  if (!isNpy(head)) fail('FORMAT', `${name}: does not start with the npy magic`, { name });
  const version = head[6];
  if (version !== 1 && version !== 2 && version !== 3) {
    fail('UNSUPPORTED', `${name}: npy version ${version}.${head[7]} is not read, only 1 to 3`, { name, version });
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const fixed = version === 1 ? 10 : 12;
  if (head.length < fixed) fail('FORMAT', `${name}: ${head.length} bytes are too few for an npy file`, { name });
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER_BYTES) {
    fail('FORMAT', `${name}: the header length ${length} exceeds ${MAX_HEADER_BYTES} bytes`, { name, length });
  }
  return fixed + length;
}

/**
 * Parses a whole header, of `npyHeaderLength` bytes. Throws `FORMAT`; `UNSUPPORTED` for Python objects, structured types,
 * strings, dates and complex numbers.
 * Source: numpy/lib/_format_impl.py.
 */
export function parseNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  const fixed = bytes[6] === 1 ? 10 : 12;
  const text = new TextDecoder(bytes[6] === 3 ? 'utf-8' : 'latin1').decode(bytes.subarray(fixed));
  const { descr, fortranOrder, shape } = parseNpyDictionary(text, name);
  const [, order, kind] = /^([<>|])([a-zA-Z]\d*)$/.exec(descr) ?? [];
  const dtype = kind !== undefined && Object.hasOwn(DESCRIPTORS, kind) ? DESCRIPTORS[kind] : undefined;
  if (dtype === undefined) {
    const reason = kind === 'O' ? 'Python objects are never read' : 'only f2 to f8, i1 to i8, u1 to u8 and b1 are read';
    fail('UNSUPPORTED', `${name}: element type ${JSON.stringify(descr)}: ${reason}`, { name, descr });
  }
  const size = DTYPES[dtype].bits / 8;
  if (order === '|' && size > 1) fail('FORMAT', `${name}: ${descr} does not say its byte order`, { name, descr });
  if (shape.length > MAX_DIMENSIONS) {
    fail('FORMAT', `${name}: ${shape.length} dimensions, at most ${MAX_DIMENSIONS} are read`, { name });
  }
  const dataBytes = tensorElements(name, shape, WHERE) * size;
  const bigEndian = order === '>' && size > 1;
  return { dtype, bigEndian, fortranOrder, shape, dataStart: bytes.length, dataBytes };
}

/**
 * The header of an array file, as numpy writes it, and the place of its one tensor. A pure function.
 * Throws `UNSUPPORTED` for types that numpy does not have: bf16, 8-bit floats, integers below 8 bits, ggml blocks.
 */
export function npyLayout({ name, dtype, shape }: TensorEntry): FileLayout {
  const kind = isDType(dtype) ? Object.keys(DESCRIPTORS).find((key) => DESCRIPTORS[key] === dtype) : undefined;
  if (kind === undefined || !isDType(dtype)) {
    fail('UNSUPPORTED', `${name}: numpy has no ${dtype}; decode it to f32 first`, { name, dtype });
  }
  const size = DTYPES[dtype].bits / 8;
  const byteLength = tensorElements(name, shape, WHERE) * size;
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const descr = `${size > 1 ? '<' : '|'}${kind}`;
  const room = shape.length === 0 ? 0 : GROWTH_DIGITS - String(shape[0]).length;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }${' '.repeat(room)}`;
  const padded = Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  const header = new Uint8Array(padded).fill(0x20);
  header.set([...MAGIC, 1, 0]);
  new DataView(header.buffer).setUint16(8, padded - 10, true);
  header.set(new TextEncoder().encode(text), 10);
  header[padded - 1] = 0x0a;
  const tensor = { name, dtype, shape: [...shape], offset: padded, byteLength };
  return { header, tensors: [tensor], byteLength: padded + byteLength };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, details });
}

/** Parts of a quantized tensor as tensors of a file, and back. */
import {
  type CodeArray,
  contiguousData,
  DTYPES,
  type DType,
  HalftoneError,
  isGgmlType,
  type NativeArray,
  type NativeDType,
  nativeData,
  type PackedTensor,
  packCodes,
  packed,
  type QuantizedParts,
  type QuantizedTensor,
  rowByteLength,
  type Shape,
  type SparseTensor,
  type StorageType,
  type Tensor,
  tensor,
  unpackCodes,
} from '@halftone/tensor';
import { NATIVE, type NativeTensor, type NativeWeight } from './native-header.js';

type Part = Tensor | PackedTensor | QuantizedTensor;

/** Element types of plain tensors, by the name of their typed array. */
const ARRAYS: Readonly<Record<string, NativeDType>> = {
  Float64Array: 'f64',
  Float32Array: 'f32',
  Int32Array: 'i32',
  Int16Array: 'i16',
  Int8Array: 'i8',
  Uint32Array: 'u32',
  Uint16Array: 'u16',
  Uint8Array: 'u8',
  Uint8ClampedArray: 'u8',
  BigInt64Array: 'i64',
  BigUint64Array: 'u64',
};

/** Kinds of parts by name: codes, parameters (any array, packed or again quantized), or one typed array. */
const PARTS: Readonly<Record<string, string>> = {
  codes: 'codes',
  signs: 'codes',
  scales: 'parameters',
  zeros: 'parameters',
  offsets: 'parameters',
  codebook: 'Float32Array',
  'lowRank.left': 'Float32Array',
  'lowRank.right': 'Float32Array',
  groupIndex: 'Uint32Array vector',
  permutation: 'Uint32Array vector',
  channelScale: 'Float32Array vector',
  'outliers.rowPointers': 'Uint32Array vector',
  'outliers.columns': 'Uint32Array vector',
  'outliers.values': 'Float32Array vector',
};

/** The parts that are tensors, by their names in the file. */
export function tensorParts({ parts }: QuantizedTensor): Map<string, Part> {
  const { lowRank, outliers } = parts;
  const vector = (data: NativeArray | undefined) => data && tensor(data, [data.length]);
  const all: Record<string, Part | undefined> = {
    codes: parts.codes,
    signs: parts.signs,
    scales: parts.scales,
    zeros: parts.zeros,
    offsets: parts.offsets,
    codebook: parts.codebook,
    'lowRank.left': lowRank?.left,
    'lowRank.right': lowRank?.right,
    groupIndex: vector(parts.groupIndex),
    permutation: vector(parts.permutation),
    channelScale: vector(parts.channelScale),
    'outliers.rowPointers': vector(outliers?.rowPointers),
    'outliers.columns': vector(outliers?.columns),
    'outliers.values': vector(outliers?.values),
  };
  return new Map(Object.entries(all).filter((entry): entry is [string, Part] => entry[1] !== undefined));
}

/** The inverse of `tensorParts`, of parts that `checkParts` accepted. */
export function joinParts(weight: NativeWeight, parts: ReadonlyMap<string, Part>): QuantizedParts {
  const { globalScale, outlierShape } = weight;
  const joined: Record<string, unknown> = {};
  for (const [path, part] of parts) {
    if (!path.includes('.')) joined[path] = PARTS[path]?.endsWith('vector') ? (part as Tensor).data : part;
  }
  if (globalScale !== undefined) joined.globalScale = globalScale;
  if (outlierShape !== undefined) {
    const data = (name: string) => (parts.get(`outliers.${name}`) as Tensor).data;
    joined.outliers = {
      shape: outlierShape as readonly [number, number],
      rowPointers: data('rowPointers') as Uint32Array,
      columns: data('columns') as Uint32Array,
      values: data('values') as Float32Array,
    } satisfies SparseTensor;
  }
  if (parts.has('lowRank.left'))
    joined.lowRank = { left: parts.get('lowRank.left'), right: parts.get('lowRank.right') };
  return joined as unknown as QuantizedParts;
}

/** Throws `FORMAT` or `UNSUPPORTED` unless parts are known, complete and of the types they must have. */
export function checkParts(weight: NativeWeight, what: string): void {
  const { parts, outlierShape } = weight;
  const outlierParts = [...parts.keys()].filter((path) => path.startsWith('outliers.')).length;
  if (!parts.has('codes')) fail('FORMAT', `${what}: codes are missing`);
  if (outlierParts !== (outlierShape === undefined ? 0 : 3)) fail('FORMAT', `${what}: outliers are incomplete`);
  if (outlierShape !== undefined && outlierShape.length !== 2) fail('FORMAT', `${what}: outliers are not a matrix`);
  if (parts.has('lowRank.left') !== parts.has('lowRank.right')) fail('FORMAT', `${what}: lowRank is incomplete`);
  for (const [path, part] of parts) {
    if (!Object.hasOwn(PARTS, path)) {
      fail('UNSUPPORTED', `${what}: part ${JSON.stringify(path)} is not known to this version; use a newer release`);
    }
    checkKind(part, PARTS[path] as string, `${what}.${path}`);
  }
}

function checkKind(part: NativeTensor | NativeWeight, kind: string, what: string): void {
  if ('parts' in part) {
    if (kind !== 'parameters') fail('FORMAT', `${what}: cannot be quantized`);
    return;
  }
  const { dtype, shape, array } = part;
  const bits = isGgmlType(dtype) ? Number.POSITIVE_INFINITY : DTYPES[dtype].bits;
  if (array !== undefined) {
    const expected = Object.hasOwn(ARRAYS, array) ? ARRAYS[array] : undefined;
    const dense =
      kind === 'codes' && bits < 8 && dtype === `${expected?.[0]}${bits}` && DTYPES[expected as DType].bits === 8;
    if (dtype !== expected && !dense) fail('FORMAT', `${what}: ${dtype} does not become a ${array}`);
  }
  if (kind === 'codes') {
    if (bits > 16) fail('FORMAT', `${what}: ${dtype} elements are not codes`);
  } else if (kind !== 'parameters') {
    const [expected, vector] = kind.split(' ');
    if (array !== expected) fail('FORMAT', `${what}: should be a ${expected}`);
    if (vector !== undefined && shape.length !== 1)
      fail('FORMAT', `${what}: shape [${shape}] should have one dimension`);
  }
}

/**
 * A plain or packed tensor for the file: codes of 8-bit arrays as dense as the grid allows. `denseBits` 0: not codes.
 * May give the tensor's own memory.
 */
export function storePart(
  part: Tensor | PackedTensor,
  denseBits: number,
): { entry: NativeTensor; stored: PackedTensor } {
  if (part.kind === 'packed') {
    const { dtype, shape, bytes } = part;
    return { entry: { dtype, shape: [...shape] }, stored: storedForm(packed(dtype, shape, bytes)) };
  }
  const data = contiguousData(part);
  const array = data[Symbol.toStringTag];
  const shape = [...part.shape];
  const natural = ARRAYS[array] as NativeDType;
  const dense = denseBits > 0 && denseBits < 8 ? packedCodes(data as CodeArray, denseBits, shape) : undefined;
  const stored = dense ?? packed(natural, shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { entry: { dtype: stored.dtype, shape, array }, stored: storedForm(stored) };
}

/** Undefined where a code does not fit or the array has wider elements. */
function packedCodes(codes: CodeArray, bits: number, shape: Shape): PackedTensor<DType> | undefined {
  if (codes.BYTES_PER_ELEMENT !== 1) return undefined;
  const signed = codes instanceof Int8Array;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  for (const code of codes) if (code < lowest || code >= lowest + 2 ** bits) return undefined;
  return packCodes(codes, bits, signed, shape);
}

/** How a tensor of this type lies in safetensors: as it is, or as u8 rows where the container has no such type. */
export function storedShape({ dtype, shape }: NativeTensor): { dtype: StorageType; shape: readonly number[] } {
  if (!isGgmlType(dtype) && DTYPES[dtype].bits >= 8) return { dtype, shape };
  return { dtype: 'u8', shape: [...shape.slice(0, -1), rowByteLength(dtype, shape[shape.length - 1] ?? 1)] };
}

function storedForm(part: PackedTensor): PackedTensor {
  return packed(storedShape(part).dtype, storedShape(part).shape, part.bytes);
}

/** The inverse of `storePart`. */
export function loadPart({ dtype, shape, array }: NativeTensor, bytes: Uint8Array): Tensor | PackedTensor {
  const part = packed(dtype, shape, bytes);
  if (array === undefined) return part;
  if (DTYPES[dtype as DType].bits < 8) return tensor(unpackCodes(part as PackedTensor<DType>), [...shape]);
  const data = nativeData(part as PackedTensor<NativeDType>);
  if (array !== 'Uint8ClampedArray') return tensor(data as NativeArray, [...shape]);
  return tensor(new Uint8ClampedArray(data.buffer as ArrayBuffer, data.byteOffset, data.length), [...shape]);
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string): never {
  throw new HalftoneError(code, message, { where: NATIVE });
}

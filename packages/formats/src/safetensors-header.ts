import { DTYPES, type DType, HalftoneError, type Shape } from '@halftone/tensor';
import { type JsonValue, parseJson } from './internal/json.js';
import { tensorElements } from './internal/tensor-size.js';
import { isWellFormed } from './internal/utf8.js';

/** The format's own limit for the JSON header, in bytes. */
export const SAFETENSORS_MAX_HEADER_BYTES = 100_000_000;

/** Frameworks stop at 64. */
const MAX_DIMENSIONS = 64;

/** Element types by their name in the file. */
export const SAFETENSORS_DTYPES: Readonly<Record<string, DType>> = {
  BOOL: 'bool',
  U8: 'u8',
  I8: 'i8',
  U16: 'u16',
  I16: 'i16',
  U32: 'u32',
  I32: 'i32',
  U64: 'u64',
  I64: 'i64',
  F16: 'f16',
  BF16: 'bf16',
  F32: 'f32',
  F64: 'f64',
  F8_E4M3: 'f8_e4m3',
  F8_E5M2: 'f8_e5m2',
  F8_E8M0: 'f8_e8m0',
  F6_E2M3: 'f6_e2m3',
  F6_E3M2: 'f6_e3m2',
  F4: 'f4_e2m1',
};

export interface SafetensorsTensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Relative to the start of the data. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  /** In file order. */
  readonly tensors: readonly SafetensorsTensorInfo[];
}

/**
 * Parses the JSON header (without its length prefix) of a file whose data section has `dataBytes` bytes.
 *
 * Every rule of the format is checked: unique names, known dtypes, sizes that agree with shapes, tensors that tile the
 * data without holes or overlap. Throws `FORMAT`, `UNSUPPORTED` for dtypes that Halftone does not hold, such as C64.
 * Source: safetensors/src/tensor.rs.
 */
export function parseSafetensorsHeader(header: Uint8Array, dataBytes: number, fileName = 'header'): SafetensorsHeader {
  if (header[0] !== 0x7b) fail(`${fileName}: the header does not start with '{'; the file is not safetensors`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  } catch (cause) {
    throw new HalftoneError('FORMAT', `${fileName}: the header is not UTF-8`, { where: 'safetensors', cause });
  }
  const root = parseJson(text, 'safetensors', `${fileName}: header`);
  if (!(root instanceof Map)) fail(`${fileName}: the header is not a JSON object`);
  const metadata = new Map<string, string>();
  const tensors: SafetensorsTensorInfo[] = [];
  for (const [name, value] of root) {
    if (!isWellFormed(name)) fail(`${fileName}: the name ${JSON.stringify(name)} is not valid Unicode`);
    if (name === '__metadata__') readMetadata(value, metadata, fileName);
    else tensors.push(readTensorInfo(name, value, dataBytes));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, begin, end } of tensors) {
    if (begin !== position) {
      const problem = begin < position ? 'overlaps the tensor before it' : 'leaves a hole before it';
      fail(`${name}: data offset ${begin} ${problem}, expected ${position}; the file is damaged or badly written`, {
        name,
        offset: begin,
        expected: position,
      });
    }
    position = end;
  }
  if (position !== dataBytes) {
    const problem = position > dataBytes ? 'the file is cut off' : 'bytes are left over';
    fail(`${fileName}: tensors take ${position} bytes but the data has ${dataBytes}; ${problem}`, {
      expected: position,
      actual: dataBytes,
    });
  }
  return { metadata, tensors };
}

function readMetadata(value: JsonValue, into: Map<string, string>, fileName: string): void {
  if (!(value instanceof Map)) fail(`${fileName}: __metadata__ is not an object`);
  for (const [key, item] of value) {
    if (typeof item !== 'string') fail(`${fileName}: __metadata__ ${JSON.stringify(key)} is not a string`);
    if (!isWellFormed(key) || !isWellFormed(item))
      fail(`${fileName}: __metadata__ ${JSON.stringify(key)} is not valid Unicode`);
    into.set(key, item);
  }
}

function readTensorInfo(name: string, value: JsonValue, dataBytes: number): SafetensorsTensorInfo {
  if (!(value instanceof Map)) fail(`${name}: its header entry is not an object`, { name });
  const fileType = value.get('dtype');
  if (typeof fileType !== 'string') fail(`${name}: dtype is not a string`, { name });
  if (!Object.hasOwn(SAFETENSORS_DTYPES, fileType)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `${name}: dtype ${fileType} is not supported; convert it to a real type first`,
      {
        where: 'safetensors',
        details: { name, dtype: fileType },
      },
    );
  }
  const dtype = SAFETENSORS_DTYPES[fileType] as DType;
  const shape = wholeNumbers(value.get('shape'));
  if (shape === undefined) fail(`${name}: shape is not a list of whole numbers from 0 up`, { name });
  if (shape.length > MAX_DIMENSIONS)
    fail(`${name}: ${shape.length} dimensions, at most ${MAX_DIMENSIONS} are read`, { name });
  const offsets = wholeNumbers(value.get('data_offsets'));
  if (offsets?.length !== 2) fail(`${name}: data_offsets is not a pair of whole numbers`, { name });
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    fail(
      `${name}: data_offsets [${begin}, ${end}] do not lie in the ${dataBytes} data bytes; the file is cut off or damaged`,
      {
        name,
        begin,
        end,
        dataBytes,
      },
    );
  }
  const bits = tensorElements(name, shape, 'safetensors') * DTYPES[dtype].bits;
  if (bits % 8 !== 0) fail(`${name}: ${fileType} of shape [${shape}] is not a whole number of bytes`, { name, shape });
  if (bits / 8 !== end - begin) {
    fail(`${name}: ${fileType} of shape [${shape}] needs ${bits / 8} bytes, data_offsets give ${end - begin}`, {
      name,
      shape,
      expected: bits / 8,
      actual: end - begin,
    });
  }
  return { name, dtype, shape, begin, end };
}

function wholeNumbers(value: JsonValue | undefined): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0) ? (value as number[]) : undefined;
}

function fail(message: string, details?: Record<string, unknown>): never {
  throw new HalftoneError('FORMAT', message, { where: 'safetensors', details });
}

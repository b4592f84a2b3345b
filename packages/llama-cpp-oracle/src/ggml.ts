/**
 * ggml's own block encoders and decoders, called in this process.
 *
 * Sources: ggml.h (`ggml_quantize_chunk`), ggml-quants.h (`quantize_row_*_ref`, `dequantize_row_*`).
 */
import { HalftoneError } from '@halftone/tensor';
import { loadKoffi, requireLlamaLibraries } from './available.js';
import { functionSuffix, ORACLE_GGML_TYPES, type OracleBlockType } from './ggml-type-ids.js';

const WHERE = 'llama-cpp-oracle';

/** Block geometry as the library itself reports it. */
export interface OracleBlockInfo {
  readonly blockSize: number;
  readonly blockBytes: number;
  readonly requiresImportance: boolean;
}

const RTLD_NOW = 2;
const RTLD_NODELETE = 0x1000;

/**
 * libggml-base must never be unloaded: its initializer aborts the process when it runs a second time. koffi unloads a
 * library when its handle is collected, so the loader itself is told to keep it.
 */
function ggmlBase(): ReturnType<ReturnType<typeof loadKoffi>['load']> {
  const koffi = loadKoffi();
  const { ggmlBase: path } = requireLlamaLibraries();
  koffi.load(null).func('dlopen', 'void *', ['str', 'int'])(path, RTLD_NOW | RTLD_NODELETE);
  return koffi.load(path);
}

/** Elements and bytes a block, from `ggml_blck_size` and `ggml_type_size`. */
export function ggmlBlockInfo(type: OracleBlockType): OracleBlockInfo {
  const base = ggmlBase();
  const id = ORACLE_GGML_TYPES[type];
  return {
    blockSize: Number(base.func('ggml_blck_size', 'int64_t', ['int'])(id)),
    blockBytes: Number(base.func('ggml_type_size', 'size_t', ['int'])(id)),
    requiresImportance: base.func('ggml_quantize_requires_imatrix', 'bool', ['int'])(id) as boolean,
  };
}

/**
 * Encodes `rows` rows of `columns` values with `ggml_quantize_chunk`, as llama-quantize does.
 *
 * @param imatrix `[columns]` importances (mean of squared inputs), for all rows. Not all zero.
 * Throws `SHAPE` when sizes do not fit, `RANGE` for values or importances that are not finite, `UNSUPPORTED` for a type
 * that needs importances when there are none.
 */
export function ggmlQuantize(
  type: OracleBlockType,
  values: Float32Array,
  rows: number,
  columns: number,
  imatrix?: Float32Array,
): Uint8Array {
  const info = ggmlBlockInfo(type);
  const bytes = encodedBuffer(info, values, rows, columns);
  if (imatrix === undefined && info.requiresImportance) {
    throw new HalftoneError('UNSUPPORTED', `${type} cannot be encoded without importances; pass imatrix`, {
      where: WHERE,
    });
  }
  if (imatrix !== undefined) {
    if (imatrix.length !== columns) {
      throw new HalftoneError('SHAPE', `imatrix has ${imatrix.length} values, the rows have ${columns}`, {
        where: WHERE,
      });
    }
    if (!imatrix.every((v) => v >= 0 && Number.isFinite(v)) || imatrix.every((v) => v === 0)) {
      throw new HalftoneError('RANGE', 'importances must be finite, not negative and not all zero', { where: WHERE });
    }
  }
  if (rows === 0) return bytes;
  const call = ggmlBase().func('ggml_quantize_chunk', 'size_t', [
    'int',
    'float *',
    'void *',
    'int64_t',
    'int64_t',
    'int64_t',
    'float *',
  ]);
  const written = Number(call(ORACLE_GGML_TYPES[type], values, bytes, 0, rows, columns, imatrix ?? null));
  if (written !== bytes.length) {
    throw new HalftoneError('NUMERIC', `ggml wrote ${written} bytes, expected ${bytes.length}`, { where: WHERE });
  }
  return bytes;
}

/** Encodes with `quantize_row_<type>_ref`, ggml's portable reference encoder. Throws `UNSUPPORTED` where there is none. */
export function ggmlQuantizeRef(
  type: OracleBlockType,
  values: Float32Array,
  rows: number,
  columns: number,
): Uint8Array {
  const bytes = encodedBuffer(ggmlBlockInfo(type), values, rows, columns);
  const name = `quantize_row_${functionSuffix(type)}_ref`;
  const call = find(name, ['float *', 'void *', 'int64_t']);
  if (bytes.length > 0) call(values, bytes, rows * columns);
  return bytes;
}

/** Decodes `count` elements (whole blocks) with `dequantize_row_<type>`. Throws `SHAPE` when the bytes are not that many. */
export function ggmlDequantize(type: OracleBlockType, bytes: Uint8Array, count: number): Float32Array {
  const { blockSize, blockBytes } = ggmlBlockInfo(type);
  if (count % blockSize !== 0 || bytes.length !== (count / blockSize) * blockBytes) {
    throw new HalftoneError('SHAPE', `${count} elements of ${type} are not ${bytes.length} bytes`, { where: WHERE });
  }
  const out = new Float32Array(count);
  const call = find(`dequantize_row_${functionSuffix(type)}`, ['void *', 'float *', 'int64_t']);
  if (count > 0) call(bytes, out, count);
  return out;
}

function find(name: string, parameters: string[]): (...parameters: unknown[]) => unknown {
  try {
    return ggmlBase().func(name, 'void', parameters);
  } catch (cause) {
    throw new HalftoneError('UNSUPPORTED', `libggml has no function ${name}`, {
      where: WHERE,
      cause,
    });
  }
}

function encodedBuffer(info: OracleBlockInfo, values: Float32Array, rows: number, columns: number): Uint8Array {
  if (values.length !== rows * columns || columns % info.blockSize !== 0) {
    throw new HalftoneError(
      'SHAPE',
      `${values.length} values are not ${rows} rows of ${columns}, a multiple of the block size ${info.blockSize}`,
      { where: WHERE },
    );
  }
  if (!values.every(Number.isFinite)) {
    throw new HalftoneError('RANGE', 'ggml encodes finite values only', {
      where: WHERE,
    });
  }
  return new Uint8Array(((rows * columns) / info.blockSize) * info.blockBytes);
}

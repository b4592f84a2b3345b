import {
  type Checkpoint,
  type DType,
  decode,
  dequantize,
  encode,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  nativeData,
  type PackedTensor,
  packed,
  type QuantizedTensor,
  type Scheme,
  type SparseTensor,
  type SplitWeight,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { exactFloats } from './internal/affine-weight.js';
import { packWordRows, transposed, unpackWordRows } from './internal/packed-words.js';
import { commonSetting } from './internal/runtime-config.js';
import { expectShape, findPart, matrixSides, moduleName, needPart, storedWeight } from './internal/weight-parts.js';
import { wideLookup, wideLookupGrid } from './internal/wide-lookup.js';

const WHERE = 'squeezellm';
const FLOATS = ['f16', 'bf16', 'f32'] as const;
const LOOKUP_TABLE = '.lookup_table';

export interface SqueezellmOptions {
  /** Of written codes: tables of 8 or 16 values. One width for all layers of a file. Default 4. */
  readonly bits?: 3 | 4;
}

export const SQUEEZELLM_DEFAULTS = { bits: 4 } as const satisfies SqueezellmOptions;

type Parts = {
  readonly [name in
    | 'qweight'
    | 'table'
    | 'rows'
    | 'cols'
    | 'vals'
    | 'fullRows'
    | 'fullIndices'
    | 'startRows']?: PackedTensor;
};

/**
 * SqueezeLLM checkpoints: every row has a lookup table of its own, and a few weights have something sparse added.
 *
 * A layer `X` is `X.qweight` int32 `[in * bits / 32, out]`, codes along the input as one stream of bits, low-first;
 * `X.lookup_table` `[out, 2^bits]`; where there are outliers `X.rows` int32 `[out + 1]`, `X.cols` and `X.vals` in compressed rows;
 * in hybrid files also `X.full_rows` `[in, n]` with `X.full_row_indices` `[n]`, rows that are added whole. `X.startrows` only
 * divides work among threads.
 *
 * Read weights have one codebook with the tables of all rows, cut into stages of 65536 values: two bytes an element and stage.
 * Any weight whose rows take at most `2^bits` values is written, with outliers; `in` must be a multiple of 32.
 * Source: squeezellm/quant.py.
 */
export function squeezellm(options: SqueezellmOptions = {}): WeightLayout {
  const { bits } = { ...SQUEEZELLM_DEFAULTS, ...options };
  return {
    name: WHERE,
    detect: ({ tensors }) =>
      [...tensors.keys()].some((name) => name.endsWith(LOOKUP_TABLE) && tensors.has(`${baseOf(name)}.qweight`)),
    weights(checkpoint) {
      const weights = new Map<string, LazyQuantizedTensor>();
      for (const name of checkpoint.tensors.keys()) {
        if (!name.endsWith(LOOKUP_TABLE)) continue;
        const weight = lazyWeight(checkpoint, baseOf(name));
        weights.set(weight.name, weight);
      }
      return weights;
    },
    writer: { split: (name, weight) => split(name, weight, bits), config },
  };
}

function baseOf(table: string): string {
  return table.slice(0, -LOOKUP_TABLE.length);
}

function lazyWeight(checkpoint: Checkpoint, base: string): LazyQuantizedTensor {
  const qweight = needPart(checkpoint, `${base}.qweight`, ['i32'], WHERE);
  const table = needPart(checkpoint, `${base}${LOOKUP_TABLE}`, FLOATS, WHERE);
  const [words, rows] = matrixSides(qweight, WHERE);
  const bits = Math.log2(table.shape[1] ?? 0);
  const columns = (words * 32) / bits;
  if (!Number.isInteger(bits) || bits < 1 || bits > 8 || !Number.isInteger(columns)) {
    fail('FORMAT', `${base}: a table of shape [${table.shape}] does not fit ${words} words of codes`, { base });
  }
  expectShape(table, WHERE, [rows, 2 ** bits]);
  const outliers = findPart(checkpoint, `${base}.rows`, ['i32'], WHERE);
  const cols = outliers && needPart(checkpoint, `${base}.cols`, ['i32'], WHERE);
  const vals = outliers && needPart(checkpoint, `${base}.vals`, FLOATS, WHERE);
  if (outliers) expectShape(outliers, WHERE, [rows + 1]);
  if (cols && vals) expectShape(vals, WHERE, [cols.shape[0] ?? 0]);
  if (cols && vals) expectShape(cols, WHERE, [cols.shape[0] ?? 0]);
  const fullRows = findPart(checkpoint, `${base}.full_rows`, FLOATS, WHERE);
  const fullIndices = fullRows && needPart(checkpoint, `${base}.full_row_indices`, ['i32'], WHERE);
  if (fullRows && fullIndices) expectShape(fullIndices, WHERE, [fullRows.shape[1] ?? 0]);
  if (fullRows) expectShape(fullRows, WHERE, [columns, fullRows.shape[1] ?? 0]);
  const startRows = findPart(checkpoint, `${base}.startrows`, ['i32'], WHERE);
  const shape = [rows, columns] as const;
  const grid = wideLookupGrid([rows * 2 ** bits], base, WHERE);
  const scheme: Scheme = { name: 'lookup', version: 1, grid, granularity: { type: 'tensor' } };
  const read = (parts: Parts): QuantizedTensor => {
    const stream = transposed(parts.qweight as PackedTensor<'i32'>).bytes;
    const codes = unpackWordRows(stream, bits, rows, columns);
    const fillRow = (row: number, [out]: readonly Uint32Array[]) => {
      for (let column = 0; column < columns; column++) {
        (out as Uint32Array)[column] = row * 2 ** bits + (codes[row * columns + column] as number);
      }
    };
    const tables = [decode(parts.table as PackedTensor<DType>)];
    const { codes: wide, codebook } = wideLookup(grid, shape, tables, fillRow, base, WHERE);
    const sparse = parts.rows && sparseRows(parts, shape);
    const q: QuantizedTensor = {
      kind: 'quantized',
      shape,
      scheme,
      parts: { codes: wide, codebook, ...(sparse === undefined ? {} : { outliers: sparse }) },
    };
    validateQuantized(q, `${WHERE}: ${base}`);
    return parts.fullRows ? { ...q, parts: { ...q.parts, outliers: withFullRows(sparse, parts, shape, base) } } : q;
  };
  const parts = {
    qweight,
    table,
    ...(outliers && { rows: outliers }),
    ...(cols && { cols }),
    ...(vals && { vals }),
    ...(fullRows && { fullRows }),
    ...(fullIndices && { fullIndices }),
    ...(startRows && { startRows }),
  };
  return storedWeight({ layout: WHERE, name: `${base}.weight`, shape, scheme, parts, decode: read });
}

/** Negative indices become large ones, which validation refuses. */
function unsigned(part: PackedTensor | undefined): Uint32Array {
  return nativeData({ ...(part as PackedTensor), dtype: 'u32' });
}

function sparseRows({ rows, cols, vals }: Parts, shape: readonly [number, number]): SparseTensor {
  return { shape, rowPointers: unsigned(rows), columns: unsigned(cols), values: decode(vals as PackedTensor<DType>) };
}

/** The outliers together with the rows that are added whole. Their zeros add nothing and are left out. */
function withFullRows(
  sparse: SparseTensor | undefined,
  parts: Parts,
  shape: readonly [number, number],
  base: string,
): SparseTensor {
  const indices = unsigned(parts.fullIndices);
  const full = decode(parts.fullRows as PackedTensor<DType>);
  const [rows, width] = shape;
  const bad = indices.findIndex((index) => index >= rows);
  if (bad >= 0) {
    throw new HalftoneError('RANGE', `${base}.full_row_indices: ${indices[bad]} is not one of ${rows} rows`, {
      where: WHERE,
    });
  }
  const wholeRows = new Map<number, number[]>();
  for (const [k, row] of indices.entries()) wholeRows.set(row, [...(wholeRows.get(row) ?? []), k]);
  const [columns, values, rowPointers] = [[] as number[], [] as number[], new Uint32Array(rows + 1)];
  for (let row = 0; row < rows; row++) {
    for (let i = sparse?.rowPointers[row] ?? 0; i < (sparse?.rowPointers[row + 1] ?? 0); i++) {
      columns.push(sparse?.columns[i] as number);
      values.push(sparse?.values[i] as number);
    }
    for (const k of wholeRows.get(row) ?? []) {
      for (let column = 0; column < width; column++) {
        const value = full[column * indices.length + k] as number;
        if (value === 0) continue;
        columns.push(column);
        values.push(value);
      }
    }
    rowPointers[row + 1] = columns.length;
  }
  return { shape, rowPointers, columns: Uint32Array.from(columns), values: Float32Array.from(values) };
}

function split(name: string, weight: QuantizedTensor, bits: 3 | 4): SplitWeight {
  const base = moduleName(name, WHERE);
  const { outliers, lowRank, ...parts } = weight.parts;
  const [rows = 0, columns = 0] = weight.shape;
  const size = weight.shape.length === 2 && columns % 32 === 0 && rows * columns > 0;
  if (!size)
    fail('UNSUPPORTED', `${name}: shape [${weight.shape}] is not a matrix with a multiple of 32 columns`, { name });
  if (lowRank !== undefined || (weight.scheme.input?.length ?? 0) > 0) {
    fail('UNSUPPORTED', `${name}: the layout has no place for lowRank or input transforms`, { name });
  }
  const values = dequantize({ ...weight, parts });
  const { codes, tables, most } = rowTables(values, rows, columns, 2 ** bits);
  if (most > 2 ** bits) {
    fail('UNSUPPORTED', `${name}: a row takes over ${2 ** bits} values, more than a table of ${bits} bits has`, {
      name,
      bits,
    });
  }
  const full = new Float32Array(rows * 2 ** bits);
  for (const [row, table] of tables.entries()) full.set(table, row * 2 ** bits);
  const stream = packWordRows(codes, bits, rows, columns);
  const tensors = new Map<string, PackedTensor>([
    [`${base}.qweight`, transposed(packed('i32', [rows, (columns * bits) / 32], stream))],
    [`${base}${LOOKUP_TABLE}`, exactFloats(full, ['f16', 'f32'], [rows, 2 ** bits], `${name}: tables`, WHERE)],
  ]);
  if (outliers !== undefined) {
    const index = (part: Uint32Array) => packed('i32', [part.length], new Uint8Array(part.slice().buffer));
    tensors.set(`${base}.rows`, index(outliers.rowPointers));
    tensors.set(`${base}.cols`, index(outliers.columns));
    tensors.set(`${base}.vals`, encode(outliers.values, 'f32'));
  }
  return { tensors, settings: { wbits: bits } };
}

/** The values of each row in rising order, told apart by their bits, and their indices; up to the first row above `limit`. */
function rowTables(values: Float32Array, rows: number, columns: number, limit: number) {
  const patterns = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint8Array(values.length);
  const tables: Float32Array[] = [];
  let most = 0;
  for (let row = 0; row < rows && most <= limit; row++) {
    const line = patterns.subarray(row * columns, (row + 1) * columns);
    const distinct = Uint32Array.from(new Set(line)).sort((a, b) => totalOrder(a) - totalOrder(b));
    most = Math.max(most, distinct.length);
    const order = new Map(Array.from(distinct, (pattern, code) => [pattern, code]));
    for (let i = 0; i < columns; i++) codes[row * columns + i] = order.get(line[i] as number) as number;
    tables.push(new Float32Array(distinct.buffer));
  }
  return { codes, tables, most };
}

/** Bit patterns of floats in the order of their values: -0 before 0, NaN at the ends. */
function totalOrder(pattern: number): number {
  return (pattern >>> 31 ? ~pattern : pattern ^ 0x80000000) >>> 0;
}

function config(weights: ReadonlyMap<string, JsonObject>): JsonObject {
  return { quantization_config: { quant_method: WHERE, wbits: commonSetting<number>(weights, 'wbits', WHERE) } };
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string, details: Record<string, unknown>): never {
  throw new HalftoneError(code, message, { where: WHERE, details });
}

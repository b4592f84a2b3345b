import {
  type Checkpoint,
  type DType,
  decode,
  HalftoneError,
  type JsonObject,
  type LazyQuantizedTensor,
  nativeData,
  type PackedTensor,
  type QuantizedParts,
  type QuantizedTensor,
  type Scheme,
  tensor,
  type WeightLayout,
} from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import { type VptqSettings, vptqSettings } from './internal/vptq-settings.js';
import { expectShape, findPart, needPart, storedWeight } from './internal/weight-parts.js';
import { wideLookup, wideLookupGrid } from './internal/wide-lookup.js';

const WHERE = 'vptq';
const FLOATS = ['f16', 'bf16', 'f32'] as const;
const CENTROIDS = '.centroids.weight';

type Parts = {
  readonly [name in
    | 'indices'
    | 'centroids'
    | 'residual'
    | 'residualIndices'
    | 'outliers'
    | 'outlierIndices'
    | 'perm'
    | 'scale'
    | 'bias']?: PackedTensor;
};

/**
 * VPTQ checkpoints (vector post-training quantization) of vptq and transformers: vectors of consecutive rows, the sum of a
 * centroid and a residual one, and some columns with a table of their own. Read only.
 *
 * A layer `X` is `X.indices` `[groups, out / length, ...]`: int16 `[group columns]`, with residual ones in `X.res_indices`, or int32
 * words of one stream of bits, `residual << index_bits | index` for each column; `X.centroids.weight` and
 * `X.res_centroids.weight` `[groups, centroids * length]`; `X.outlier_indices` int16 and `X.outlier_centroids.weight`; `X.perm`
 * (16 bits) with the column of the weight where each stored column belongs; `X.weight_scale` and `X.weight_bias` `[in]`.
 *
 * Vectors along rows have no form in a quantized tensor: each of their elements becomes a code of its own, in stages of 65536
 * values, at two bytes an element and stage (`65536 * 8` centroids: nine). The bias of columns becomes a low-rank part.
 * Source: vptq/layers/vqlinear.py, vptq/utils/pack.py.
 */
export const vptq: WeightLayout = {
  name: WHERE,
  detect: ({ tensors }) =>
    [...tensors.keys()].some(
      (name) => name.endsWith(CENTROIDS) && tensors.has(`${name.slice(0, -CENTROIDS.length)}.indices`),
    ),
  weights(checkpoint, config) {
    const weights = new Map<string, LazyQuantizedTensor>();
    for (const name of checkpoint.tensors.keys()) {
      const base = name.slice(0, -CENTROIDS.length);
      if (!name.endsWith(CENTROIDS) || !checkpoint.tensors.has(`${base}.indices`)) continue;
      weights.set(`${base}.weight`, lazyWeight(checkpoint, base, config));
    }
    return weights;
  },
};

function lazyWeight(checkpoint: Checkpoint, base: string, config?: JsonObject): LazyQuantizedTensor {
  const settings = vptqSettings(config, base);
  const { rows, columns, groups, groupColumns, main, residual, outliers } = settings;
  const need = <T extends DType>(suffix: string, dtypes: readonly T[]) =>
    needPart(checkpoint, `${base}.${suffix}`, dtypes, WHERE);
  const indices = need('indices', ['i16', 'i32']);
  const isPacked = indices.dtype === 'i32';
  const vectors = Math.ceil(rows / main.length);
  const words = Math.ceil((groupColumns * (indexBits(main.centroids) + indexBits(residual?.centroids))) / 32);
  expectShape(indices, WHERE, [groups, vectors, isPacked ? words : groupColumns]);
  const centroids = need('centroids.weight', FLOATS);
  expectShape(centroids, WHERE, [groups, main.centroids * main.length]);
  const residualCentroids = residual && need('res_centroids.weight', FLOATS);
  if (residual && residualCentroids) expectShape(residualCentroids, WHERE, [groups, residual.centroids * main.length]);
  const residualIndices = residual && !isPacked ? need('res_indices', ['i16']) : undefined;
  if (residualIndices) expectShape(residualIndices, WHERE, [groups, vectors, groupColumns]);
  const outlierCentroids = outliers && need('outlier_centroids.weight', FLOATS);
  const outlierIndices = outliers && need('outlier_indices', ['i16']);
  if (outliers && outlierCentroids) expectShape(outlierCentroids, WHERE, [1, outliers.centroids * outliers.length]);
  if (outliers && outlierIndices)
    expectShape(outlierIndices, WHERE, [1, Math.ceil(rows / outliers.length), outliers.columns]);
  const perm = findPart(checkpoint, `${base}.perm`, ['i16', 'u16', 'i32', 'i64'], WHERE);
  const scale = findPart(checkpoint, `${base}.weight_scale`, FLOATS, WHERE);
  const bias = findPart(checkpoint, `${base}.weight_bias`, FLOATS, WHERE);
  for (const perColumn of [perm, scale, bias]) if (perColumn) expectShape(perColumn, WHERE, [columns]);

  const lengths = [groups * main.centroids * main.length + (outliers ? outliers.centroids * outliers.length : 0)];
  // One more value for outlier columns, which have no residual.
  if (residual) lengths.push(groups * residual.centroids * main.length + 1);
  const grid = wideLookupGrid(lengths, base, WHERE);
  const scheme: Scheme = { name: 'lookup', version: 1, grid, granularity: { type: 'tensor' } };
  const shape = [rows, columns] as const;
  return storedWeight({
    layout: WHERE,
    name: `${base}.weight`,
    shape,
    scheme,
    parts: {
      indices,
      centroids,
      ...(residualCentroids && { residual: residualCentroids }),
      ...(residualIndices && { residualIndices }),
      ...(outlierCentroids && { outliers: outlierCentroids }),
      ...(outlierIndices && { outlierIndices }),
      ...(perm && { perm }),
      ...(scale && { scale }),
      ...(bias && { bias }),
    },
    decode(parts: Parts) {
      const tables = tablesOf(parts, lengths, settings);
      const lookup = wideLookup(grid, shape, tables, rowFiller(parts, settings, base), base, WHERE);
      const q: QuantizedTensor = {
        kind: 'quantized',
        shape,
        scheme,
        parts: { ...lookup, ...columnParts(parts, rows) },
      };
      validateQuantized(q, `${WHERE}: ${base}`);
      return q;
    },
  });
}

/** The values of all main codebooks and then of the outliers'; those of all residual codebooks and then -0, which adds nothing. */
function tablesOf(parts: Parts, lengths: readonly number[], { residual }: VptqSettings): Float32Array[] {
  const values = (part: PackedTensor | undefined) => (part ? decode(part as PackedTensor<DType>) : new Float32Array(0));
  const tables = lengths.map((length) => new Float32Array(length).fill(-0));
  const main = values(parts.centroids);
  tables[0]?.set(main);
  tables[0]?.set(values(parts.outliers), main.length);
  if (residual) tables[1]?.set(values(parts.residual));
  return tables;
}

/** Indices into the tables, for one row after the other. */
function rowFiller(parts: Parts, settings: VptqSettings, base: string) {
  const { groups, groupColumns, main, residual, outliers } = settings;
  const at = indexReader(parts, settings, base);
  const outlierIndices = parts.outlierIndices && words16(parts.outlierIndices);
  const outlierColumns = outliers?.columns ?? 0;
  const afterMain = groups * main.centroids * main.length;
  const noResidual = groups * (residual?.centroids ?? 0) * main.length;
  return (row: number, [mainCodes, residualCodes]: readonly Uint32Array[]): void => {
    if (outliers && outlierIndices) {
      const first = Math.floor(row / outliers.length) * outlierColumns;
      for (let column = 0; column < outlierColumns; column++) {
        const index = checked(outlierIndices[first + column] as number, outliers.centroids, `${base}.outlier_indices`);
        (mainCodes as Uint32Array)[column] = afterMain + index * outliers.length + (row % outliers.length);
        if (residualCodes) residualCodes[column] = noResidual;
      }
    }
    const vector = Math.floor(row / main.length);
    const element = row % main.length;
    for (let group = 0, column = outlierColumns; group < groups; group++) {
      for (let i = 0; i < groupColumns; i++, column++) {
        const { index, extra } = at(group, vector, i);
        (mainCodes as Uint32Array)[column] = (group * main.centroids + index) * main.length + element;
        if (residual && residualCodes)
          residualCodes[column] = (group * residual.centroids + extra) * main.length + element;
      }
    }
  };
}

/** Gives the index and the residual index of a vector. */
function indexReader(parts: Parts, { rows, groupColumns, main, residual }: VptqSettings, base: string) {
  const indices = parts.indices as PackedTensor;
  const vectors = Math.ceil(rows / main.length);
  const found = { index: 0, extra: 0 };
  if (indices.dtype !== 'i32') {
    const [own, extra] = [words16(indices), parts.residualIndices && words16(parts.residualIndices)];
    return (group: number, vector: number, column: number) => {
      const place = (group * vectors + vector) * groupColumns + column;
      found.index = checked(own[place] as number, main.centroids, `${base}.indices`);
      if (residual && extra) found.extra = checked(extra[place] as number, residual.centroids, `${base}.res_indices`);
      return found;
    };
  }
  const { bytes } = indices;
  const [bits, extraBits] = [indexBits(main.centroids), indexBits(residual?.centroids)];
  const rowBytes = 4 * (indices.shape[2] as number);
  return (group: number, vector: number, column: number) => {
    const start = (group * vectors + vector) * rowBytes;
    const position = column * (bits + extraBits);
    found.index = checked(bitField(bytes, start, position, bits), main.centroids, `${base}.indices`);
    if (residual)
      found.extra = checked(bitField(bytes, start, position + bits, extraBits), residual.centroids, `${base}.indices`);
    return found;
  };
}

/** Up to 16 bits from any position of a stream, low bits first. */
function bitField(bytes: Uint8Array, start: number, position: number, bits: number): number {
  const at = start + (position >>> 3);
  const three = (bytes[at] as number) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
  return (three >>> (position & 7)) & (2 ** bits - 1);
}

function indexBits(centroids = 1): number {
  return Math.ceil(Math.log2(centroids));
}

/** Sixteen-bit elements, which tools store as signed ones. */
function words16(part: PackedTensor): Uint16Array {
  return nativeData({ ...part, dtype: 'u16' });
}

function checked(index: number, limit: number, what: string): number {
  if (index < limit) return index;
  throw new HalftoneError('RANGE', `${what}: ${index} is not one of ${limit} centroids`, { where: WHERE });
}

/** Column order, scale and bias. The bias is the product of a column of ones with it. */
function columnParts({ perm, scale, bias }: Parts, rows: number): Partial<QuantizedParts> {
  const values = bias && decode(bias as PackedTensor<DType>);
  return {
    ...(perm && { permutation: permutationOf(perm) }),
    ...(scale && { channelScale: decode(scale as PackedTensor<DType>) }),
    ...(values && {
      lowRank: { left: tensor(new Float32Array(rows).fill(1), [rows, 1]), right: tensor(values, [1, values.length]) },
    }),
  };
}

function permutationOf(perm: PackedTensor): Uint32Array {
  if (perm.dtype !== 'i32' && perm.dtype !== 'i64') return Uint32Array.from(words16(perm));
  // A negative or huge column wraps to one that does not exist, or names one twice: validation refuses both.
  return Uint32Array.from(nativeData(perm as PackedTensor<'i32' | 'i64'>) as ArrayLike<number | bigint>, (column) => {
    const number = Number(column);
    return number >= 0 && number < 2 ** 32 ? number : 2 ** 32 - 1;
  });
}

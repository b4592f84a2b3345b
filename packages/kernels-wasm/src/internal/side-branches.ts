import { contiguousData, type QuantizedTensor, type SparseTensor, tensor, unpackCodes } from '@halftone/tensor';

/** Columns that at least this share of the rows has outliers in are held whole: they then take fewer bytes than entries do. */
const SHARED_COLUMN = 0.5;

/** Columns of `x` in the order that a product takes them, each times a factor. */
export interface PickedColumns {
  /** Absent: all columns as they come. */
  readonly order?: Uint32Array;
  readonly factors: Float32Array;
}

/** `out += t valuesᵀ`, with `values [out, width]` row-major. */
export interface NarrowPart {
  readonly width: number;
  readonly values: Float32Array;
}

/** A quantized weight as a plain dense part and what is added to it. */
export interface SideBranches {
  /** Without side branches; its columns are those that `input` gives. */
  readonly dense: QuantizedTensor;
  readonly input?: PickedColumns;
  /** `t` is `x` times `rightᵀ`, `right [width, in]`. */
  readonly lowRank?: NarrowPart & { readonly right: Float32Array };
  /** `t` is the columns that most rows have outliers in. */
  readonly shared?: NarrowPart & { readonly columns: PickedColumns };
  readonly outliers?: SparseTensor;
}

export function hasSideBranches({ parts }: QuantizedTensor): boolean {
  const { outliers, lowRank, permutation, groupIndex, channelScale } = parts;
  return [outliers, lowRank, permutation, groupIndex, channelScale].some((part) => part !== undefined);
}

/**
 * The parts of a valid weight, apart. Undefined where `groupIndex` gives groups of unequal sizes: those columns cannot be put
 * into an order in which the scheme's group size holds.
 */
export function sideBranches(q: QuantizedTensor): SideBranches | undefined {
  const { outliers, lowRank, permutation, groupIndex, channelScale, ...rest } = q.parts;
  const columns = q.shape[1];
  const grouped = groupIndex && groupOrder(q, groupIndex);
  if (groupIndex !== undefined && grouped === undefined) return undefined;
  const codes = grouped === undefined ? rest.codes : tensor(reorder(unpackCodes(rest.codes), grouped), q.shape);
  const order = grouped && permutation ? grouped.map((j) => permutation[j]) : (grouped ?? permutation);
  const factors = Float32Array.from({ length: columns }, (_, k) => channelScale?.[order?.[k] ?? k] ?? 1);
  const rank = lowRank?.right.shape[0] ?? 0;
  return {
    dense: { ...q, parts: { ...rest, codes } },
    ...((order ?? channelScale) && { input: { order, factors } }),
    ...(lowRank &&
      rank > 0 && {
        lowRank: { width: rank, values: contiguousData(lowRank.left), right: contiguousData(lowRank.right) },
      }),
    ...(outliers && splitOutliers(outliers)),
  };
}

/** Stored columns by group. Undefined unless all groups have the scheme's size, but the last, which ends with the columns. */
function groupOrder({ scheme: { granularity, grid } }: QuantizedTensor, index: Uint32Array): Uint32Array | undefined {
  if (granularity.type !== 'group' || grid.type === 'lookup') return undefined;
  const order = index.map((_, j) => j).sort((a, b) => index[a] - index[b] || a - b);
  return order.every((j, k) => index[j] === Math.floor(k / granularity.size)) ? order : undefined;
}

function reorder<Codes extends { slice(): Codes; readonly length: number; [index: number]: number }>(
  codes: Codes,
  order: Uint32Array,
): Codes {
  const out = codes.slice();
  const columns = order.length;
  for (let first = 0; first < out.length; first += columns) {
    for (let k = 0; k < columns; k++) out[first + k] = codes[first + order[k]];
  }
  return out;
}

function splitOutliers({
  shape,
  rowPointers,
  columns,
  values,
}: SparseTensor): Pick<SideBranches, 'shared' | 'outliers'> {
  const [rows, width] = shape;
  const counts = new Uint32Array(width);
  for (const column of columns) counts[column]++;
  const order = counts.map((_, column) => column).filter((column) => counts[column] >= SHARED_COLUMN * rows);
  const place = new Int32Array(width).fill(-1);
  for (const [k, column] of order.entries()) place[column] = k;
  const panel = new Float32Array(rows * order.length);
  const others = columns.filter((column) => place[column] < 0);
  const otherValues = new Float32Array(others.length);
  const pointers = new Uint32Array(rows + 1);
  for (let row = 0, to = 0; row < rows; row++) {
    for (let k = rowPointers[row]; k < rowPointers[row + 1]; k++) {
      const at = place[columns[k]];
      if (at < 0) otherValues[to++] = values[k];
      else panel[row * order.length + at] += values[k];
    }
    pointers[row + 1] = to;
  }
  const picked = { order, factors: new Float32Array(order.length).fill(1) };
  return {
    ...(order.length > 0 && { shared: { width: order.length, values: panel, columns: picked } }),
    ...(others.length > 0 && { outliers: { shape, rowPointers: pointers, columns: others, values: otherValues } }),
  };
}

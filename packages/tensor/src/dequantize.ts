import { type CodeArray, unpackCodes } from './codes.js';
import { decode, setNumbers } from './decode.js';
import type { DType } from './dtype.js';
import { expectCount, fail } from './error.js';
import { decodeFloat, floatFormat } from './float-format.js';
import type { QuantizedTensor } from './quantized.js';
import { codesShape, groupSize, parameterShape } from './quantized-shape.js';
import { columnCount, elementCount, rowMajorStride } from './shape.js';
import type { PackedTensor, Tensor } from './types.js';
import { contiguousData } from './view.js';

/**
 * Values of any tensor in host memory as row-major float32.
 *
 * Without `out`, a contiguous Float32Array view gives its own memory, not a copy: do not write to the result.
 * Throws `SHAPE` when `out` has another size, and whatever `decode` and `dequantize` throw.
 */
export function toFloat32(source: Tensor | PackedTensor<DType> | QuantizedTensor, out?: Float32Array): Float32Array {
  if (source.kind === 'packed') return decode(source, out);
  if (source.kind === 'quantized') return dequantize(source, out);
  const data = contiguousData(source);
  if (out === undefined && data instanceof Float32Array) return data;
  const values = output(out, data.length);
  setNumbers(values, data);
  return values;
}

/**
 * The reference decoder: the values of a quantized tensor, row-major float32.
 *
 * Each step is rounded to float32, in this order (absent parts are skipped, absent scales are 1):
 * 1. `scale = scales * globalScale`, where quantized scales are decoded by this same function;
 * 2. `value = scale * (code - zero) + offset`; on float and lookup grids the code's value stands for `code - zero`,
 *    and with several stages that is the sum of the stages' vectors, negated where `signs` says so;
 * 3. columns go from stored to logical order (`permutation`), then times `channelScale`, plus `outliers`, plus `lowRank`
 *    (whose product is summed in float64).
 *
 * `groupIndex` counts stored columns; `channelScale`, `outliers` and `lowRank` logical ones.
 * Lookup grids: codes are `[..., in / vectorLength]`, with a leading axis of `stages` when there are several; the codebook
 * is `[stages * entries, vectorLength]`, stage after stage. Float grids: E4M3 with bias 7 has the NaN of `f8_e4m3`, grids
 * with 5 or 8 exponent bits have IEEE's infinities and NaN; all others are finite.
 *
 * Does not apply `scheme.input`: that belongs to the matrix product.
 * Throws `SHAPE` when there are too few or too many codes, signs, scales, zeros or offsets and `RANGE` for a code beyond the
 * codebook. All else is taken on trust: parts that come from a file are checked by `@halftone/tensor/validate`.
 */
export function dequantize(q: QuantizedTensor, out?: Float32Array): Float32Array {
  const values = output(out, elementCount(q.shape));
  const codes = unpackCodes(q.parts.codes);
  expectCount('dequantize', 'codes', codes.length, elementCount(codesShape(q)));
  scaleValues(q, gridValues(q, codes, values), values);
  correct(q, values);
  return values;
}

function output(out: Float32Array | undefined, count: number): Float32Array {
  if (out !== undefined) expectCount('dequantize', 'elements of out', out.length, count);
  return out ?? new Float32Array(count);
}

/** The number that each code stands for, before scaling: affine codes themselves, else written to `values`. */
function gridValues(
  { scheme: { grid }, parts }: QuantizedTensor,
  codes: CodeArray,
  values: Float32Array,
): CodeArray | Float32Array {
  if (grid.type === 'affine') return codes;
  if (grid.type === 'float') {
    const mask = 2 ** (1 + grid.exponent + grid.mantissa) - 1;
    const format = floatFormat(grid.exponent, grid.mantissa, grid.bias);
    const table = new Float32Array(mask + 1).map((_, code) => decodeFloat(code, format));
    for (let i = 0; i < values.length; i++) values[i] = table[(codes[i] as number) & mask] as number;
    return values;
  }
  const { vectorLength, stages } = grid;
  const codebook = contiguousData(parts.codebook as Tensor<Float32Array>);
  const entries = codebook.length / (vectorLength * stages);
  const vectors = values.length / vectorLength;
  values.fill(-0);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] as number;
    if (code < 0 || code >= entries) {
      fail('RANGE', 'dequantize', `code ${code} at ${i} is not an entry of the codebook of ${entries}`);
    }
    const from = (Math.floor(i / vectors) * entries + code) * vectorLength;
    const to = (i % vectors) * vectorLength;
    for (let k = 0; k < vectorLength; k++) values[to + k] = (values[to + k] as number) + (codebook[from + k] as number);
  }
  if (parts.signs !== undefined) {
    const signs = unpackCodes(parts.signs);
    expectCount('dequantize', 'signs', signs.length, values.length);
    for (let i = 0; i < values.length; i++) if (signs[i]) values[i] = -(values[i] as number);
  }
  return values;
}

/** Step 2, and the column order. Walks each row in runs of columns that share their parameters. */
function scaleValues(q: QuantizedTensor, source: CodeArray | Float32Array, values: Float32Array): void {
  const { shape, scheme, parts } = q;
  const { groupIndex, permutation } = parts;
  const parameters = parameterShape(shape, scheme.granularity);
  const [scales, zeros, offsets] = [parts.scales, parts.zeros, parts.offsets].map((part) => {
    const data = part && toFloat32(part as Tensor);
    if (data) expectCount('dequantize', 'scales, zeros or offsets', data.length, elementCount(parameters));
    return data;
  });
  const globalScale = parts.globalScale ?? 1;
  const columns = columnCount(shape);
  const strides = rowMajorStride(parameters);
  const divisors = shape.map((n, axis) => groupSize(scheme.granularity, axis, n));
  const divisor = divisors[shape.length - 1] ?? 1;
  const run = groupIndex === undefined ? divisor : 1;
  for (let first = 0; first < values.length; first += columns) {
    let base = 0;
    // Rows count all leading axes together.
    for (let axis = shape.length - 2, row = first / columns; axis >= 0; axis--) {
      const n = shape[axis] as number;
      base += Math.floor((row % n) / (divisors[axis] as number)) * (strides[axis] as number);
      row = Math.floor(row / n);
    }
    for (let column = 0; column < columns; column += run) {
      const parameter =
        base + (groupIndex === undefined ? Math.floor(column / divisor) : (groupIndex[column] as number));
      const scale = Math.fround((scales === undefined ? 1 : (scales[parameter] as number)) * globalScale);
      const zero = zeros === undefined ? 0 : (zeros[parameter] as number);
      const end = first + Math.min(column + run, columns);
      // Adding -0 changes nothing, not even the sign of zero.
      const offset = offsets === undefined ? -0 : (offsets[parameter] as number);
      for (let i = first + column; i < end; i++) {
        values[i] = Math.fround(Math.fround((source[i] as number) - zero) * scale) + offset;
      }
    }
    if (permutation !== undefined) {
      const stored = values.slice(first, first + columns);
      for (let j = 0; j < columns; j++) values[first + (permutation[j] as number)] = stored[j] as number;
    }
  }
}

/** The parts that count logical columns. */
function correct({ shape, parts }: QuantizedTensor, values: Float32Array): void {
  const { channelScale, outliers, lowRank } = parts;
  const columns = columnCount(shape);
  const left = lowRank && contiguousData(lowRank.left);
  const right = lowRank && contiguousData(lowRank.right);
  if (!(channelScale || outliers || lowRank)) return;
  for (let first = 0, row = 0; first < values.length; first += columns, row++) {
    const line = values.subarray(first, first + columns);
    if (channelScale !== undefined)
      for (let j = 0; j < columns; j++) line[j] = (line[j] as number) * (channelScale[j] as number);
    if (outliers !== undefined) {
      const end = outliers.rowPointers[row + 1] as number;
      for (let k = outliers.rowPointers[row] as number; k < end; k++) {
        const j = outliers.columns[k] as number;
        line[j] = (line[j] as number) + (outliers.values[k] as number);
      }
    }
    if (left && right) {
      const sums = new Float64Array(columns);
      const rank = right.length / columns;
      for (let r = 0; r < rank; r++) {
        const factor = left[row * rank + r] as number;
        for (let j = 0; j < columns; j++) sums[j] = (sums[j] as number) + factor * (right[r * columns + j] as number);
      }
      for (let j = 0; j < columns; j++) line[j] = (line[j] as number) + Math.fround(sums[j] as number);
    }
  }
}

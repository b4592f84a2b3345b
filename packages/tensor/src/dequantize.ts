import { unpackCodes } from './codes.js';
import { decode } from './decode.js';
import type { DType } from './dtype.js';
import { HalftoneError } from './error.js';
import { decodeFloat, floatFormatOf } from './float-format.js';
import type { ParameterTensor, QuantizedTensor } from './quantized.js';
import { elementCount, rowMajorStride } from './shape.js';
import type { PackedTensor, Tensor } from './types.js';
import { parameterShape, validateQuantized } from './validate-quantized.js';
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
  const values = sizedOutput(out, data.length, 'toFloat32');
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let i = 0; i < data.length; i++) values[i] = Number(data[i]);
  } else values.set(data);
  return values;
}

/**
 * The reference decoder: the values of a quantized tensor, row-major float32.
 *
 * Each step is rounded to float32, in this order (absent parts are skipped, absent scales are 1):
 * 1. `scale = scales * globalScale`, where quantized scales are decoded by this same function;
 * 2. `value = scale * (code - zero) + offset`; on float and lookup grids the code's value stands for `code - zero`,
 *    and with several stages that is the sum of the stages' vectors;
 * 3. columns go from stored to logical order (`permutation`), then times `channelScale`, plus `outliers`, plus `lowRank`.
 *
 * `groupIndex` counts stored columns; `channelScale`, `outliers` and `lowRank` logical ones.
 * Lookup grids: codes are `[..., in / vectorLength]`, with a leading axis of `stages` when there are several; the codebook
 * is `[stages * entries, vectorLength]`, stage after stage. Float grids `E4M3` with bias 7 and those with 5 exponent bits
 * have the special values of `f8_e4m3` and of IEEE; all others are finite.
 *
 * Does not apply `scheme.input`: that belongs to the matrix product. Throws as `validateQuantized`, and `RANGE` for a code
 * beyond the codebook.
 */
export function dequantize(q: QuantizedTensor, out?: Float32Array): Float32Array {
  validateQuantized(q);
  const values = sizedOutput(out, elementCount(q.shape), 'dequantize');
  gridValues(q, values);
  scaleValues(q, values);
  if (q.parts.permutation !== undefined) restoreColumnOrder(values, q.parts.permutation);
  correct(q, values);
  return values;
}

function sizedOutput(out: Float32Array | undefined, count: number, where: string): Float32Array {
  if (out !== undefined && out.length !== count) {
    throw new HalftoneError('SHAPE', `out has ${out.length} elements but ${count} are needed`, { where });
  }
  return out ?? new Float32Array(count);
}

/** Writes the number that each code stands for, before scaling. */
function gridValues({ scheme, parts }: QuantizedTensor, values: Float32Array): void {
  const { grid } = scheme;
  const codes = unpackCodes(parts.codes);
  if (grid.type === 'affine') {
    values.set(codes);
    return;
  }
  if (grid.type === 'float') {
    const mask = 2 ** (1 + grid.exponent + grid.mantissa) - 1;
    const format = floatFormatOf(grid);
    const table = Float32Array.from({ length: mask + 1 }, (_, code) => decodeFloat(code, format));
    for (let i = 0; i < values.length; i++) values[i] = table[(codes[i] as number) & mask] as number;
    return;
  }
  const { vectorLength, stages } = grid;
  const codebook = contiguousData(parts.codebook as Tensor<Float32Array>);
  const entries = codebook.length / (vectorLength * stages);
  const vectors = values.length / vectorLength;
  for (let stage = 0; stage < stages; stage++) {
    for (let i = 0; i < vectors; i++) {
      const code = codes[stage * vectors + i] as number;
      if (code < 0 || code >= entries) {
        throw new HalftoneError('RANGE', `code ${code} of vector ${i} is beyond the codebook of ${entries} entries`, {
          where: 'dequantize',
          details: { code, vector: i, stage, entries },
        });
      }
      const from = (stage * entries + code) * vectorLength;
      const to = i * vectorLength;
      for (let k = 0; k < vectorLength; k++) {
        const value = codebook[from + k] as number;
        values[to + k] = stage === 0 ? value : (values[to + k] as number) + value;
      }
    }
  }
}

/** Step 2 in place. Walks each row in runs of columns that share their parameters. */
function scaleValues({ shape, scheme, parts }: QuantizedTensor, values: Float32Array): void {
  const { granularity } = scheme;
  if (parts.scales === undefined && parts.globalScale === undefined && parts.offsets === undefined) return;
  const scales = scalesOf(parts.scales, parts.globalScale);
  const zeros = parts.zeros && toFloat32(parts.zeros as Tensor);
  const offsets = parts.offsets && toFloat32(parts.offsets as Tensor);
  const columns = shape[shape.length - 1] ?? 1;
  if (values.length === 0) return;
  const rows = values.length / columns;
  const map = parameterMap(shape, granularity);
  const last = map[shape.length - 1] ?? { divisor: 1, stride: 0 };
  const { groupIndex } = parts;
  const run = groupIndex !== undefined ? 1 : last.stride === 0 ? columns : last.divisor;
  for (let row = 0; row < rows; row++) {
    const base = rowBase(row, shape, map);
    const end = (row + 1) * columns;
    for (let start = row * columns, column = 0; start < end; start += run, column += run) {
      const group = groupIndex === undefined ? Math.floor(column / last.divisor) : (groupIndex[column] as number);
      const parameter = base + group * last.stride;
      const stop = Math.min(start + run, end);
      // Parameters that all elements share hold one entry.
      const scale = scales.length === 1 ? (scales[0] as number) : (scales[parameter] as number);
      const zero = zeros === undefined ? 0 : (zeros[parameter] as number);
      if (zero !== 0) for (let i = start; i < stop; i++) values[i] = (values[i] as number) - zero;
      for (let i = start; i < stop; i++) values[i] = (values[i] as number) * scale;
      if (offsets !== undefined) {
        const offset = offsets[parameter] as number;
        for (let i = start; i < stop; i++) values[i] = (values[i] as number) + offset;
      }
    }
  }
}

function scalesOf(scales: ParameterTensor | undefined, globalScale: number | undefined): Float32Array {
  if (scales === undefined) return Float32Array.of(globalScale ?? 1);
  const values = toFloat32(scales as Tensor);
  return globalScale === undefined ? values : values.map((scale) => scale * globalScale);
}

interface ParameterAxis {
  /** Consecutive indices that share a parameter. */
  readonly divisor: number;
  /** Step in the parameter array; 0 where the axis does not choose. */
  readonly stride: number;
}

function parameterMap(shape: readonly number[], granularity: QuantizedTensor['scheme']['granularity']): ParameterAxis[] {
  const strides = rowMajorStride(parameterShape(shape, granularity));
  return shape.map((_, axis) => {
    switch (granularity.type) {
      case 'tensor':
        return { divisor: 1, stride: 0 };
      case 'axis':
        return { divisor: 1, stride: axis === granularity.axis ? 1 : 0 };
      case 'group':
        return { divisor: axis === granularity.axis ? granularity.size : 1, stride: strides[axis] as number };
      case 'block':
        return { divisor: axis === 0 ? granularity.rows : granularity.columns, stride: strides[axis] as number };
    }
  });
}

/** Index of the first parameter of a row, where rows count all leading axes together. */
function rowBase(row: number, shape: readonly number[], map: readonly ParameterAxis[]): number {
  let base = 0;
  for (let axis = shape.length - 2, rest = row; axis >= 0; axis--) {
    const dimension = shape[axis] as number;
    const { divisor, stride } = map[axis] as ParameterAxis;
    base += Math.floor((rest % dimension) / divisor) * stride;
    rest = Math.floor(rest / dimension);
  }
  return base;
}

function restoreColumnOrder(values: Float32Array, permutation: Uint32Array): void {
  const columns = permutation.length;
  const stored = new Float32Array(columns);
  for (let start = 0; start < values.length; start += columns) {
    stored.set(values.subarray(start, start + columns));
    for (let j = 0; j < columns; j++) values[start + (permutation[j] as number)] = stored[j] as number;
  }
}

/** The parts that count logical columns. */
function correct({ shape, parts }: QuantizedTensor, values: Float32Array): void {
  const { channelScale, outliers, lowRank } = parts;
  const columns = shape[shape.length - 1] ?? 1;
  if (channelScale !== undefined) {
    for (let start = 0; start < values.length; start += columns) {
      for (let j = 0; j < columns; j++) values[start + j] = (values[start + j] as number) * (channelScale[j] as number);
    }
  }
  if (outliers !== undefined) {
    for (let row = 0; row < outliers.shape[0]; row++) {
      for (let k = outliers.rowPointers[row] as number; k < (outliers.rowPointers[row + 1] as number); k++) {
        const at = row * columns + (outliers.columns[k] as number);
        values[at] = (values[at] as number) + (outliers.values[k] as number);
      }
    }
  }
  if (lowRank !== undefined) {
    const left = contiguousData(lowRank.left);
    const right = contiguousData(lowRank.right);
    const rank = lowRank.right.shape[0] as number;
    const sums = new Float64Array(columns);
    for (let row = 0; row * columns < values.length; row++) {
      sums.fill(0);
      for (let r = 0; r < rank; r++) {
        const factor = left[row * rank + r] as number;
        for (let j = 0; j < columns; j++) sums[j] = (sums[j] as number) + factor * (right[r * columns + j] as number);
      }
      for (let j = 0; j < columns; j++) values[row * columns + j] = (values[row * columns + j] as number) + (sums[j] as number);
    }
  }
}

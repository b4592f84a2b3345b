import {
  type Granularity,
  HalftoneError,
  numberToBfloat16,
  numberToFloat16,
  type PackedTensor,
  type QuantizeContext,
  type Scheme,
  type Shape,
  type Tensor,
  tensor,
} from '@halftone/tensor';
import { type AffineRule, affineParameters, affineRule, type ScaleDType, type Symmetry } from './affine-rule.js';
import { minMax } from './fit-min-max.js';
import type { FrozenGrid, GridQuantizer } from './grid-quantizer.js';
import { inputImportance, weightRows } from './internal/weight.js';
import type { RangeFit } from './range-fit.js';
import { roundNearest } from './round-nearest.js';

export interface RtnOptions {
  /** 1 to 8. */
  readonly bits?: number;
  /** Which weights share a scale: all, those of a row, or that many neighbours in a row (the last group may be shorter). */
  readonly granularity?: 'tensor' | 'row' | number;
  readonly symmetry?: Symmetry;
  readonly fit?: RangeFit;
  readonly scaleDtype?: ScaleDType;
}

/** `fit` defaults to `minMax()`. */
export const RTN_DEFAULTS = { bits: 4, granularity: 128, symmetry: 'asymmetric', scaleDtype: 'f16' } as const;

/**
 * Round to nearest on an affine integer grid.
 *
 * Asymmetric grids have unsigned codes and integer zeros (`u8`), symmetric ones signed codes and no zeros.
 * Scales are rounded to `scaleDtype` before the codes are chosen. A group of zeros gets scale 1.
 * Throws `RANGE` for bad options; quantizing throws `NUMERIC` for weights that are not finite and for scales that
 * exceed `scaleDtype` (float16 ends at 65504).
 */
export function rtn(options: RtnOptions = {}): GridQuantizer {
  const { bits, granularity, symmetry, scaleDtype } = { ...RTN_DEFAULTS, ...options };
  const fit = options.fit ?? minMax();
  const rule = affineRule(bits, symmetry, scaleDtype, 'rtn');
  if (typeof granularity === 'number' && !(Number.isInteger(granularity) && granularity >= 1)) {
    throw new HalftoneError('RANGE', `granularity is ${granularity}; use 'tensor', 'row' or a group size from 1`, {
      where: 'rtn',
    });
  }
  const scheme: Scheme = {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits, signed: symmetry !== 'asymmetric', symmetric: symmetry !== 'asymmetric' },
    granularity: schemeGranularity(granularity),
    ...(symmetry === 'restricted-range' ? { params: { restrictedRange: true } } : {}),
  };
  const chooseScales = (weight: Tensor<Float32Array>, context: QuantizeContext) =>
    chooseAffineScales(weight, context, scheme, rule, fit);
  return {
    name: `rtn-int${bits}-${typeof granularity === 'number' ? `g${granularity}` : granularity}-${symmetry}`,
    scheme,
    needs: fit.needs,
    rowwise: granularity !== 'tensor',
    chooseScales,
    chooseCodes: roundNearest,
    quantize: (weight, context) => roundNearest(weight, chooseScales(weight, context), context),
  };
}

function schemeGranularity(granularity: 'tensor' | 'row' | number): Granularity {
  if (granularity === 'tensor') return { type: 'tensor' };
  return granularity === 'row' ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: granularity };
}

function chooseAffineScales(
  weight: Tensor<Float32Array>,
  context: QuantizeContext,
  scheme: Scheme,
  rule: AffineRule,
  fit: RangeFit,
): FrozenGrid {
  const { data, rows, columns } = weightRows(weight, context, 'rtn');
  const { granularity } = scheme;
  const importance = fitImportance(fit, context, columns, granularity.type === 'tensor' ? rows : 1);
  // The whole tensor is one "row" when it shares one scale.
  const rowLength = granularity.type === 'tensor' ? data.length : columns;
  const rowCount = granularity.type === 'tensor' ? 1 : rows;
  const size = granularity.type === 'group' ? granularity.size : Math.max(1, rowLength);
  const groups = Math.ceil(rowLength / size);
  const shape: Shape = granularity.type === 'tensor' ? [] : granularity.type === 'axis' ? [rows] : [rows, groups];
  const count = granularity.type === 'group' ? rowCount * groups : rowCount;
  const scales = new Float32Array(count).fill(1);
  const zeros = new Uint8Array(count);
  const range = new Float64Array(2);
  const parameters = new Float64Array(2);
  for (let row = 0, index = 0; row < rowCount; row++) {
    for (let group = 0; group < groups; group++, index++) {
      const start = row * rowLength + group * size;
      const end = Math.min(start + size, (row + 1) * rowLength);
      fit.fit(data, start, end, importance, group * size, rule, range);
      affineParameters(rule, range[0], range[1], parameters);
      if (!Number.isFinite(parameters[0])) throw scaleOverflow(context, rule, row, group * size);
      scales[index] = parameters[0];
      zeros[index] = parameters[1];
    }
  }
  const stored = storeScales(scales, shape, rule.scaleDtype);
  return {
    scheme,
    shape: [rows, columns],
    parts: rule.symmetry === 'asymmetric' ? { scales: stored, zeros: tensor(zeros, shape) } : { scales: stored },
  };
}

/** The column weights that the fit asked for, repeated for `copies` rows that are fitted as one group. */
function fitImportance(
  fit: RangeFit,
  context: QuantizeContext,
  columns: number,
  copies: number,
): Float64Array | undefined {
  if (!fit.needs.includes('inputSquares')) return undefined;
  const squares = inputImportance(context, columns, 'rtn');
  if (squares === undefined) {
    throw new HalftoneError('UNSUPPORTED', `${context.name}: ${fit.name} needs inputSquares; calibrate first`, {
      where: 'rtn',
      details: { tensor: context.name },
    });
  }
  if (copies === 1) return squares;
  const repeated = new Float64Array(columns * copies);
  for (let row = 0; row < copies; row++) repeated.set(squares, row * columns);
  return repeated;
}

function scaleOverflow(context: QuantizeContext, rule: AffineRule, row: number, column: number): HalftoneError {
  return new HalftoneError(
    'NUMERIC',
    `${context.name}: the scale at row ${row}, column ${column} exceeds ${rule.scaleDtype}; use scaleDtype 'bf16' or 'f32', or more bits`,
    { where: 'rtn', details: { tensor: context.name, row, column, scaleDtype: rule.scaleDtype } },
  );
}

function storeScales(scales: Float32Array, shape: Shape, dtype: ScaleDType): Tensor<Float32Array> | PackedTensor {
  if (dtype === 'f32') return tensor(scales, shape);
  const toBits = dtype === 'f16' ? numberToFloat16 : numberToBfloat16;
  const words = new Uint16Array(scales.length);
  for (let i = 0; i < scales.length; i++) words[i] = toBits(scales[i]);
  return { kind: 'packed', dtype, shape, bytes: new Uint8Array(words.buffer) };
}

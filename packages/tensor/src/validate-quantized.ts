import { packedByteLength } from './byte-length.js';
import { type ErrorCode, fail } from './error.js';
import type { Codes, ParameterTensor, QuantizedTensor } from './quantized.js';
import { codesShape, parameterShape } from './quantized-shape.js';
import { columnCount, elementCount, sameShape } from './shape.js';
import type { Shape, Tensor } from './types.js';

/**
 * Checks that the parts of a quantized tensor fit its shape and scheme, in time proportional to parameters, columns and
 * outliers; the codes themselves are not read. Dimensions of 1 are ignored: `[out, 1]` scales serve where `[out]` is meant.
 * Throws `SHAPE`, `RANGE` or `UNSUPPORTED` naming the part and what it should be.
 */
export function validateQuantized(q: QuantizedTensor, where = 'quantized tensor'): void {
  const { shape, parts } = q;
  const { grid, granularity } = q.scheme;
  const check = (ok: boolean, code: ErrorCode, message: string): void => {
    if (!ok) fail(code, where, message, { scheme: q.scheme.name, shape });
  };
  const whole = (name: string, value: number, lowest: number, highest: number): void =>
    check(
      Number.isInteger(value) && value >= lowest && value <= highest,
      'RANGE',
      `${name} ${value} should be ${lowest} .. ${highest}`,
    );
  const shaped = (name: string, actual: Shape, expected: Shape): void =>
    check(sameShape(squeeze(actual), squeeze(expected)), 'SHAPE', `${name} [${actual}] should be [${expected}]`);
  const below = (name: string, indices: Uint32Array, limit: number): void => {
    const bad = indices.findIndex((index) => index >= limit);
    check(bad < 0, 'RANGE', `${name}[${bad}] is ${indices[bad]} but should be below ${limit}`);
  };
  const part = (name: string, tensor: Codes | ParameterTensor, expected: Shape): void => {
    shaped(name, tensor.shape, expected);
    if (tensor.kind === 'quantized') validateQuantized(tensor, `${where}.${name}`);
    else if (tensor.kind === 'packed') {
      shaped(`bytes of ${name}`, [tensor.bytes.length], [packedByteLength(tensor.dtype, tensor.shape)]);
    }
  };

  const columns = columnCount(shape);
  const rows = elementCount(shape, where) / (columns || 1);
  if (grid.type === 'affine') whole('bits', grid.bits, 1, 16);
  else if (grid.type === 'float') {
    whole('exponent', grid.exponent, 1, 8);
    whole('mantissa', grid.mantissa, 0, 15 - grid.exponent);
  } else {
    whole('bits', grid.bits, 1, 16);
    whole('vectorLength', grid.vectorLength, 1, columns || 1);
    whole('stages', grid.stages, 1, 256);
    whole('elements of the last vector of a row:', columns % grid.vectorLength, 0, 0);
    const codebook = parts.codebook as Tensor | undefined;
    check(codebook !== undefined, 'SHAPE', 'a lookup grid needs a codebook');
    const { shape: bookShape } = codebook as Tensor;
    const entries = elementCount(bookShape, where) / grid.vectorLength / grid.stages;
    whole(`entries of codebook [${bookShape}]:`, entries, 1, 2 ** grid.bits);
    if (grid.vectorLength > 1) shaped('vectors of codebook', bookShape.slice(-1), [grid.vectorLength]);
  }
  const biased = parts.zeros !== undefined || (parts.offsets !== undefined && grid.type === 'affine');
  check(
    !biased || (grid.type === 'affine' && !grid.symmetric),
    'UNSUPPORTED',
    'zeros or offsets on a grid that is symmetric or not affine',
  );

  if (granularity.type === 'axis' || granularity.type === 'group')
    whole('granularity axis', granularity.axis, 0, shape.length - 1);
  if (granularity.type === 'group') whole('group size', granularity.size, 1, 2 ** 53);
  if (granularity.type === 'block') {
    whole('axes of a tensor with block granularity:', shape.length, 2, 2);
    whole('block rows', granularity.rows, 1, 2 ** 53);
    whole('block columns', granularity.columns, 1, 2 ** 53);
  }
  part('codes', parts.codes, codesShape(q));
  const signed = grid.type === 'lookup' && grid.signs === true;
  check(
    signed === (parts.signs !== undefined),
    'UNSUPPORTED',
    signed ? 'a grid with signs needs the part signs' : 'signs on a grid without them',
  );
  if (parts.signs !== undefined) part('signs', parts.signs, shape);
  const parameters = parameterShape(shape, granularity);
  for (const name of ['scales', 'zeros', 'offsets'] as const) {
    const tensor = parts[name];
    if (tensor !== undefined) part(name, tensor, parameters);
  }

  const { groupIndex, permutation, channelScale, outliers, lowRank } = parts;
  for (const [name, perColumn] of Object.entries({ groupIndex, permutation, channelScale })) {
    if (perColumn !== undefined) shaped(name, [perColumn.length], [columns]);
  }
  if (groupIndex !== undefined) {
    const grouped = granularity.type === 'group' && granularity.axis === shape.length - 1;
    check(grouped, 'UNSUPPORTED', 'groupIndex needs group granularity along the last axis');
    below('groupIndex', groupIndex, columnCount(parameters));
  }
  if (permutation !== undefined) {
    below('permutation', permutation, columns);
    check(new Set(permutation).size === columns, 'RANGE', 'permutation names a column twice');
  }
  if (outliers !== undefined) {
    const { rowPointers } = outliers;
    const count = outliers.columns.length;
    shaped('outliers', outliers.shape, shape);
    shaped('outliers.values', [outliers.values.length], [count]);
    shaped('outliers.rowPointers', [rowPointers.length], [rows + 1]);
    const rising = rowPointers.every((pointer, row) => pointer >= (rowPointers[row - 1] ?? 0));
    check(
      rising && rowPointers[0] === 0 && rowPointers[rows] === count,
      'RANGE',
      `outliers.rowPointers should rise from 0 to ${count}`,
    );
    below('outliers.columns', outliers.columns, columns);
  }
  if (lowRank !== undefined) {
    const rank = lowRank.right.shape[0] as number;
    shaped('lowRank.left', lowRank.left.shape, [rows, rank]);
    shaped('lowRank.right', lowRank.right.shape, [rank, columns]);
  }
}

function squeeze(shape: Shape): Shape {
  return shape.filter((dimension) => dimension !== 1);
}

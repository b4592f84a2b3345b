import { packedByteLength } from './byte-length.js';
import { HalftoneError } from './error.js';
import type { Codes, Granularity, ParameterTensor, QuantizedTensor } from './quantized.js';
import { elementCount, sameShape } from './shape.js';
import type { Shape } from './types.js';

/** Shape of scales, zeros and offsets: `[]` for `tensor`, else one entry for each group along each axis. */
export function parameterShape(shape: Shape, granularity: Granularity): number[] {
  switch (granularity.type) {
    case 'tensor':
      return [];
    case 'axis':
      return [shape[granularity.axis] as number];
    case 'group':
      return shape.map((n, axis) => (axis === granularity.axis ? Math.ceil(n / granularity.size) : n));
    case 'block':
      return [Math.ceil((shape[0] as number) / granularity.rows), Math.ceil((shape[1] as number) / granularity.columns)];
  }
}

/** Shape of the codes: the tensor's own, for vectors shorter along the last axis, with a leading axis for several stages. */
export function codesShape({ shape, scheme }: QuantizedTensor): Shape {
  const { grid } = scheme;
  if (grid.type !== 'lookup') return shape;
  const vectors = [...shape];
  if (shape.length > 0) vectors[shape.length - 1] = (shape[shape.length - 1] as number) / grid.vectorLength;
  return grid.stages > 1 ? [grid.stages, ...vectors] : vectors;
}

/**
 * Checks that the parts of a quantized tensor fit its shape and scheme, in time proportional to rows plus columns plus
 * outliers; the codes themselves are not read. Throws `SHAPE`, `RANGE` or `UNSUPPORTED` naming the part and the fix.
 */
export function validateQuantized(q: QuantizedTensor, where = 'quantized tensor'): void {
  const { shape, scheme, parts } = q;
  const { grid, granularity } = scheme;
  const fail = (code: 'SHAPE' | 'RANGE' | 'UNSUPPORTED', message: string, details: Record<string, unknown> = {}): never => {
    throw new HalftoneError(code, message, { where, details: { scheme: scheme.name, shape, ...details } });
  };
  const positive = (value: number, name: string, highest = Number.MAX_SAFE_INTEGER): void => {
    if (!Number.isSafeInteger(value) || value < 1 || value > highest) {
      fail('RANGE', `${name} is ${value}; it must be a whole number from 1 to ${highest}`);
    }
  };
  elementCount(shape, where);
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape.length === 2 ? (shape[0] as number) : -1;

  switch (grid.type) {
    case 'affine':
      positive(grid.bits, 'grid.bits', 16);
      if (grid.symmetric && (parts.zeros !== undefined || parts.offsets !== undefined)) {
        fail('UNSUPPORTED', 'the grid is symmetric but zeros or offsets are given; set symmetric to false');
      }
      break;
    case 'float':
      positive(grid.exponent, 'grid.exponent', 8);
      if (!Number.isInteger(grid.mantissa) || grid.mantissa < 0 || 1 + grid.exponent + grid.mantissa > 16) {
        fail('RANGE', `a float grid with ${grid.exponent} exponent and ${grid.mantissa} mantissa bits exceeds 16 bits`);
      }
      break;
    case 'lookup': {
      positive(grid.bits, 'grid.bits', 16);
      positive(grid.vectorLength, 'grid.vectorLength');
      positive(grid.stages, 'grid.stages');
      if (columns % grid.vectorLength !== 0) {
        fail('SHAPE', `rows of ${columns} elements are not whole vectors of ${grid.vectorLength}; pad the columns`);
      }
      const { codebook } = parts;
      if (codebook === undefined) return fail('SHAPE', 'a lookup grid needs parts.codebook');
      const entries = elementCount(codebook.shape, where) / (grid.vectorLength * grid.stages);
      if (codebook.shape[codebook.shape.length - 1] !== grid.vectorLength && grid.vectorLength !== 1) {
        fail('SHAPE', `codebook [${codebook.shape}] does not have rows of ${grid.vectorLength} values`);
      }
      if (!Number.isInteger(entries) || entries < 1 || entries > 2 ** grid.bits) {
        fail('SHAPE', `codebook [${codebook.shape}] must hold 1 to ${2 ** grid.bits} vectors of ${grid.vectorLength} for each of ${grid.stages} stages`);
      }
    }
  }
  if (grid.type !== 'affine' && parts.zeros !== undefined) fail('UNSUPPORTED', `zeros have no meaning on a ${grid.type} grid`);
  if (parts.scales === undefined && parts.zeros !== undefined) fail('SHAPE', 'zeros are given without scales');
  if (parts.globalScale !== undefined && !Number.isFinite(parts.globalScale)) {
    fail('RANGE', `globalScale is ${parts.globalScale}`);
  }

  switch (granularity.type) {
    case 'axis':
    case 'group':
      if (!Number.isInteger(granularity.axis) || granularity.axis < 0 || granularity.axis >= shape.length) {
        fail('SHAPE', `granularity axis ${granularity.axis} is not an axis of [${shape}]`);
      }
      if (granularity.type === 'group') positive(granularity.size, 'granularity.size');
      break;
    case 'block':
      if (shape.length !== 2) fail('SHAPE', `block granularity needs a matrix, not [${shape}]`);
      positive(granularity.rows, 'granularity.rows');
      positive(granularity.columns, 'granularity.columns');
  }

  checkShape(parts.codes, codesShape(q), 'codes', where);
  const expected = parameterShape(shape, granularity);
  for (const name of ['scales', 'zeros', 'offsets'] as const) {
    const part = parts[name];
    if (part === undefined) continue;
    checkShape(part, expected, name, where);
    if (part.kind === 'quantized') validateQuantized(part, `${where}.${name}`);
  }

  const perColumn = (part: ArrayLike<number>, name: string): void => {
    if (shape.length === 0 || part.length !== columns) {
      fail('SHAPE', `${name} has ${part.length} entries; one for each of ${columns} columns is needed`);
    }
  };
  if (parts.groupIndex !== undefined) {
    perColumn(parts.groupIndex, 'groupIndex');
    if (granularity.type !== 'group' || granularity.axis !== shape.length - 1) {
      return fail('UNSUPPORTED', 'groupIndex needs group granularity along the last axis');
    }
    const groups = Math.ceil(columns / granularity.size);
    const bad = parts.groupIndex.findIndex((group) => group >= groups);
    if (bad >= 0) fail('RANGE', `groupIndex[${bad}] is ${parts.groupIndex[bad]} but there are ${groups} groups`);
  }
  if (parts.permutation !== undefined) {
    perColumn(parts.permutation, 'permutation');
    const seen = new Uint8Array(columns);
    parts.permutation.forEach((column, j) => {
      if (column >= columns || seen[column] === 1) {
        fail('RANGE', `permutation[${j}] is ${column}: out of range or given twice`);
      }
      seen[column] = 1;
    });
  }
  if (parts.channelScale !== undefined) perColumn(parts.channelScale, 'channelScale');

  const { outliers, lowRank } = parts;
  if (outliers !== undefined) {
    if (!sameShape(outliers.shape, shape)) fail('SHAPE', `outliers are [${outliers.shape}] but the tensor is [${shape}]`);
    const { rowPointers, columns: at, values } = outliers;
    const ordered = rowPointers.every((pointer, r) => r === 0 || pointer >= (rowPointers[r - 1] as number));
    if (rowPointers.length !== rows + 1 || rowPointers[0] !== 0 || !ordered || rowPointers[rows] !== at.length) {
      fail('RANGE', `outliers.rowPointers must rise from 0 to ${at.length} in ${rows + 1} entries`);
    }
    if (values.length !== at.length) fail('SHAPE', `outliers have ${at.length} columns but ${values.length} values`);
    const bad = at.findIndex((column) => column >= columns);
    if (bad >= 0) fail('RANGE', `outliers.columns[${bad}] is ${at[bad]} but there are ${columns} columns`);
  }
  if (lowRank !== undefined) {
    const rank = lowRank.right.shape[0] ?? -1;
    if (!sameShape(lowRank.left.shape, [rows, rank]) || !sameShape(lowRank.right.shape, [rank, columns])) {
      fail('SHAPE', `lowRank [${lowRank.left.shape}] times [${lowRank.right.shape}] does not give [${shape}]`);
    }
  }
}

/** Dimensions of 1 are ignored: `[out, 1]` scales serve where `[out]` is meant. */
function checkShape(part: Codes | ParameterTensor, expected: Shape, name: string, where: string): void {
  const squeeze = (shape: Shape) => shape.filter((dimension) => dimension !== 1);
  if (!sameShape(squeeze(part.shape), squeeze(expected))) {
    throw new HalftoneError('SHAPE', `${name} are [${part.shape}] but the scheme asks for [${expected}]`, {
      where,
      details: { part: name, expected, actual: part.shape },
    });
  }
  if (part.kind === 'packed' && part.bytes.byteLength !== packedByteLength(part.dtype, part.shape)) {
    throw new HalftoneError('SHAPE', `${name} have ${part.bytes.byteLength} bytes, which is not ${part.dtype} [${part.shape}]`, {
      where,
      details: { part: name },
    });
  }
}

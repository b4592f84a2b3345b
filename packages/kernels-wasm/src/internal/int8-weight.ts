import {
  HalftoneError,
  type ParameterTensor,
  type QuantizedTensor,
  type Scheme,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import type { GroupLevel, Int8Storage } from './int8-layout.js';
import { BLOCK } from './layout.js';
import { hasSideBranches } from './side-branches.js';

const WHERE = 'int8Product';
/** Largest magnitude of an activation's code. */
const ACTIVATION = 128;

/** A weight as integers: `W[o, i] = factors[o] * groupScale[o, group of i] * codes[o, i]`. */
export interface Int8Weight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly storage: Int8Storage;
  readonly codes: ArrayLike<number>;
  /** `[out]` */
  readonly factors: Float32Array;
  readonly level: GroupLevel;
  readonly groups: number;
  /** Columns of a group, a multiple of 32; the last group may have fewer in the weight itself. */
  readonly groupColumns: number;
  /** `[out, groups]`, whole numbers for `integer`; absent for `none`. */
  readonly groupScales?: ArrayLike<number>;
}

/**
 * Signed symmetric codes of up to 8 bits with one scale for the tensor or each row; up to 4 bits also with one for each group
 * of a multiple of 32 columns.
 */
export function isInt8Scheme({ grid, granularity }: Scheme): boolean {
  if (grid.type !== 'affine' || !grid.signed || !grid.symmetric) return false;
  if (!Number.isInteger(grid.bits) || grid.bits < 1 || grid.bits > 8) return false;
  if (granularity.type === 'group') return grid.bits <= 4 && granularity.axis === 1 && granularity.size % BLOCK === 0;
  return granularity.type === 'tensor' || (granularity.type === 'axis' && granularity.axis === 0);
}

/** Whether `int8Weight` takes this weight. */
export function isInt8Weight(q: QuantizedTensor): boolean {
  const { grid } = q.scheme;
  return grid.type === 'affine' && isInt8Scheme(q.scheme) && isPlain(q) && sumsFit(2 ** (grid.bits - 1), q.shape[1]);
}

/** Whether this weight has nothing beside codes and scales. */
function isPlain(q: QuantizedTensor): boolean {
  return !hasSideBranches(q) && q.parts.zeros === undefined && q.parts.offsets === undefined;
}

/**
 * Throws `UNSUPPORTED` for what `isInt8Scheme` and `isPlain` deny, `SHAPE` for too few or too many codes or scales, and `RANGE`
 * where sums over a row would not fit 32 bits.
 */
export function int8Weight(q: QuantizedTensor): Int8Weight {
  const { scheme, parts, shape } = q;
  const { grid, granularity } = scheme;
  if (grid.type !== 'affine' || !isInt8Scheme(scheme) || !isPlain(q)) {
    throw new HalftoneError('UNSUPPORTED', `scheme ${scheme.name} is not taken; use wasmBackend, which takes more`, {
      where: WHERE,
      details: { scheme, parts: Object.keys(parts) },
    });
  }
  const [outFeatures, inFeatures] = shape;
  const codes = unpackCodes(parts.codes);
  expectCount('codes', codes.length, outFeatures * inFeatures);
  const largest = 2 ** (grid.bits - 1);
  checkDepth(largest, inFeatures);
  const common = { outFeatures, inFeatures, codes, storage: grid.bits <= 4 ? ('nibble' as const) : ('byte' as const) };
  const globalScale = parts.globalScale ?? 1;
  const whole = Math.ceil(inFeatures / BLOCK) * BLOCK;
  if (granularity.type !== 'group') {
    const scales = scaleValues(parts.scales, granularity.type === 'tensor' ? 1 : outFeatures);
    const factors = Float32Array.from(
      { length: outFeatures },
      (_, o) => scales[scales.length === 1 ? 0 : o] * globalScale,
    );
    return { ...common, factors, level: 'none', groups: 1, groupColumns: whole };
  }
  const groupColumns = Math.min(granularity.size, whole);
  const groups = Math.ceil(inFeatures / groupColumns);
  const integers = integerScales(parts.scales, outFeatures, groups);
  if (integers !== undefined && sumsFit(largest * integers.largest, inFeatures)) {
    const factors = integers.factors.map((factor) => factor * globalScale);
    return { ...common, factors, level: 'integer', groups, groupColumns, groupScales: integers.codes };
  }
  const factors = new Float32Array(outFeatures).fill(globalScale);
  const groupScales = scaleValues(parts.scales, outFeatures * groups);
  return { ...common, factors, level: 'float', groups, groupColumns, groupScales };
}

function sumsFit(largestWeight: number, columns: number): boolean {
  return largestWeight * ACTIVATION * columns < 2 ** 31;
}

function checkDepth(largestWeight: number, inFeatures: number): void {
  if (sumsFit(largestWeight, inFeatures)) return;
  throw new HalftoneError(
    'RANGE',
    `sums over ${inFeatures} input features may not fit 32 bits; split the weight by columns`,
    {
      where: WHERE,
      details: { inFeatures },
    },
  );
}

function scaleValues(scales: ParameterTensor | undefined, count: number): Float32Array {
  const values = scales === undefined ? new Float32Array(count).fill(1) : toFloat32(scales as Tensor);
  expectCount('scales', values.length, count);
  return values;
}

/** Scales that are themselves whole numbers with a factor for each row or the tensor. */
function integerScales(scales: ParameterTensor | undefined, outFeatures: number, groups: number) {
  if (scales?.kind !== 'quantized' || !isPlain(scales)) return undefined;
  const { grid, granularity } = scales.scheme;
  const rowwise = granularity.type === 'axis' && granularity.axis === 0;
  if (grid.type !== 'affine' || grid.bits > 8 || !(rowwise || granularity.type === 'tensor')) return undefined;
  const codes = unpackCodes(scales.parts.codes);
  expectCount('scales', codes.length, outFeatures * groups);
  let largest = 1;
  for (const code of codes) largest = Math.max(largest, Math.abs(code));
  const own = scaleValues(scales.parts.scales, rowwise ? outFeatures : 1);
  const factor = scales.parts.globalScale ?? 1;
  const factors = Float32Array.from({ length: outFeatures }, (_, o) => own[rowwise ? o : 0] * factor);
  return { codes, factors, largest: largest };
}

function expectCount(what: string, actual: number, expected: number): void {
  if (actual === expected) return;
  throw new HalftoneError('SHAPE', `${actual} ${what} are given but ${expected} needed`, {
    where: WHERE,
    details: { actual, expected },
  });
}

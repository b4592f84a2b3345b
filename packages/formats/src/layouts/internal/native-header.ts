/** The header of Halftone's own layout: JSON that says how each weight is put together. */
import {
  type Granularity,
  type Grid,
  HalftoneError,
  type InputTransform,
  isDType,
  isGgmlType,
  type Scheme,
  type StorageType,
} from '@halftone/tensor';
import { type JsonValue, parseJson } from '../../internal/json.js';
import { exactJsonText, plainJson } from './exact-json.js';

export const NATIVE = 'halftone';
/** Raised when a reader of an older version would read something wrong. Additions that it would refuse do not need it. */
export const NATIVE_VERSION = 1;
/** Quantized parameters of quantized parameters. K-quants have one level. */
export const MAX_NESTED_WEIGHTS = 4;

/** A tensor of the file, by what it becomes. */
export interface NativeTensor {
  readonly dtype: StorageType;
  readonly shape: readonly number[];
  /** The typed array of a plain tensor; absent for a packed one. */
  readonly array?: string;
}

export interface NativeWeight {
  readonly shape: readonly number[];
  readonly scheme: Scheme;
  readonly globalScale?: number;
  readonly outlierShape?: readonly number[];
  /** By the end of the tensor's name: part `codes` of weight `w` is tensor `w.codes`. Parts of a nested weight are `w.scales.codes`. */
  readonly parts: ReadonlyMap<string, NativeTensor | NativeWeight>;
}

/** Objects around a weight. */
const WEIGHT_DEPTH = 2;

type Members = ReadonlyMap<string, JsonValue>;

/** One weight as JSON. Numbers that JSON has no word for are strings. */
export function weightJson(weight: NativeWeight): Record<string, unknown> {
  const { globalScale, parts, ...rest } = weight;
  return {
    ...rest,
    ...(globalScale === undefined
      ? {}
      : { globalScale: Number.isFinite(globalScale) ? globalScale : `${globalScale}` }),
    parts: Object.fromEntries([...parts].map(([path, part]) => [path, 'parts' in part ? weightJson(part) : part])),
  };
}

export function nativeHeaderText(weights: ReadonlyMap<string, unknown>): string {
  const tensors = Object.fromEntries(weights);
  return exactJsonText({ version: NATIVE_VERSION, tensors }, 'header', NATIVE, -WEIGHT_DEPTH);
}

/**
 * The weights that a header describes, by name. Types of all members are checked here; whether parts fit each other is for
 * `validateQuantized`. Members that start with `_` are remarks and skipped.
 * Throws `FORMAT` for what is malformed, `UNSUPPORTED` for another version and for members that this version does not know.
 */
export function parseNativeHeader(text: string): Map<string, NativeWeight> {
  const header = object(parseJson(text, NATIVE, 'header'), 'header');
  const version = header.get('version');
  if (!Number.isSafeInteger(version)) fail('FORMAT', 'header: version is not a whole number');
  if (version !== NATIVE_VERSION) {
    fail('UNSUPPORTED', `header: version ${version} is not read, only ${NATIVE_VERSION}; use a newer release`);
  }
  known(header, 'version tensors', 'header');
  const weights = new Map<string, NativeWeight>();
  for (const [name, entry] of object(header.get('tensors'), 'header: tensors')) {
    weights.set(name, parseWeight(object(entry, name), name, 0));
  }
  return weights;
}

function parseWeight(entry: Members, what: string, level: number): NativeWeight {
  if (level > MAX_NESTED_WEIGHTS) fail('UNSUPPORTED', `${what}: quantized parts within parts go too deep`);
  known(entry, 'shape scheme globalScale outlierShape parts', what);
  const parts = new Map<string, NativeTensor | NativeWeight>();
  for (const [path, part] of object(entry.get('parts'), `${what}: parts`)) {
    const members = object(part, `${what}.${path}`);
    const nested = members.has('parts');
    parts.set(
      path,
      nested ? parseWeight(members, `${what}.${path}`, level + 1) : parseTensor(members, `${what}.${path}`),
    );
  }
  const globalScale = entry.get('globalScale');
  const outlierShape = entry.get('outlierShape');
  return {
    shape: shapeOf(entry.get('shape'), what),
    scheme: parseScheme(object(entry.get('scheme'), `${what}: scheme`), what),
    ...(globalScale === undefined ? {} : { globalScale: numberOrWord(globalScale, what) }),
    ...(outlierShape === undefined ? {} : { outlierShape: shapeOf(outlierShape, `${what}: outliers`) }),
    parts,
  };
}

function parseTensor(members: Members, what: string): NativeTensor {
  known(members, 'dtype shape array', what);
  const dtype = text(members, 'dtype', what);
  if (!isDType(dtype) && !isGgmlType(dtype))
    fail('UNSUPPORTED', `${what}: dtype ${JSON.stringify(dtype)} is not known`);
  const shape = shapeOf(members.get('shape'), what);
  return { dtype, shape, ...(members.has('array') ? { array: text(members, 'array', what) } : {}) };
}

function parseScheme(members: Members, what: string): Scheme {
  known(members, 'name version grid granularity input params', `${what}: scheme`);
  const input = members.get('input');
  const params = members.get('params');
  return {
    name: text(members, 'name', `${what}: scheme`),
    version: whole(members, 'version', `${what}: scheme`),
    grid: parseGrid(object(members.get('grid'), `${what}: grid`), `${what}: grid`),
    granularity: parseGranularity(object(members.get('granularity'), `${what}: granularity`), `${what}: granularity`),
    ...(input === undefined ? {} : { input: parseInput(input, what) }),
    ...(params === undefined ? {} : { params: plainJson(object(params, `${what}: params`) as JsonValue) as object }),
  } as Scheme;
}

function parseGrid(members: Members, what: string): Grid {
  const type = text(members, 'type', what);
  if (type === 'affine') {
    known(members, 'type bits signed symmetric', what);
    return {
      type,
      bits: whole(members, 'bits', what),
      signed: flag(members, 'signed', what),
      symmetric: flag(members, 'symmetric', what),
    };
  }
  if (type === 'float') {
    known(members, 'type exponent mantissa bias', what);
    const bias = members.get('bias');
    if (typeof bias !== 'number' || !Number.isFinite(bias)) return fail('FORMAT', `${what}: bias is not a number`);
    return { type, exponent: whole(members, 'exponent', what), mantissa: whole(members, 'mantissa', what), bias };
  }
  if (type !== 'lookup') return fail('UNSUPPORTED', `${what}: type ${JSON.stringify(type)} is not known`);
  known(members, 'type bits vectorLength stages signs', what);
  return {
    type,
    bits: whole(members, 'bits', what),
    vectorLength: whole(members, 'vectorLength', what),
    stages: whole(members, 'stages', what),
    ...(members.has('signs') ? { signs: flag(members, 'signs', what) } : {}),
  };
}

function parseGranularity(members: Members, what: string): Granularity {
  const type = text(members, 'type', what);
  const number = (key: string) => whole(members, key, what);
  switch (type) {
    case 'tensor':
      known(members, 'type', what);
      return { type };
    case 'axis':
      known(members, 'type axis', what);
      return { type, axis: number('axis') };
    case 'group':
      known(members, 'type axis size', what);
      return { type, axis: number('axis'), size: number('size') };
    case 'block':
      known(members, 'type rows columns', what);
      return { type, rows: number('rows'), columns: number('columns') };
    default:
      return fail('UNSUPPORTED', `${what}: type ${JSON.stringify(type)} is not known`);
  }
}

function parseInput(value: JsonValue, what: string): InputTransform[] {
  if (!Array.isArray(value)) return fail('FORMAT', `${what}: input is not a list`);
  return value.map((item, i) => {
    text(object(item, `${what}: input[${i}]`), 'type', `${what}: input[${i}]`);
    return plainJson(item) as InputTransform;
  });
}

function numberOrWord(value: JsonValue, what: string): number {
  const words = ['NaN', 'Infinity', '-Infinity'];
  if (typeof value === 'number' || (typeof value === 'string' && words.includes(value))) return Number(value);
  return fail('FORMAT', `${what}: globalScale is not a number`);
}

function shapeOf(value: JsonValue | undefined, what: string): number[] {
  const valid = Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
  return valid ? (value as number[]) : fail('FORMAT', `${what}: shape is not a list of whole numbers from 0 up`);
}

function object(value: JsonValue | undefined, what: string): Members {
  return value instanceof Map ? value : fail('FORMAT', `${what} is not an object`);
}

function known(members: Members, names: string, what: string): void {
  for (const key of members.keys()) {
    if (key.startsWith('_') || names.split(' ').includes(key)) continue;
    fail('UNSUPPORTED', `${what}: member ${JSON.stringify(key)} is not known to this version; use a newer release`);
  }
}

function text(members: Members, key: string, what: string): string {
  const value = members.get(key);
  return typeof value === 'string' ? value : fail('FORMAT', `${what}: ${key} is not a string`);
}

function whole(members: Members, key: string, what: string): number {
  const value = members.get(key);
  return Number.isSafeInteger(value) ? (value as number) : fail('FORMAT', `${what}: ${key} is not a whole number`);
}

function flag(members: Members, key: string, what: string): boolean {
  const value = members.get(key);
  return typeof value === 'boolean' ? value : fail('FORMAT', `${what}: ${key} is not true or false`);
}

function fail(code: 'FORMAT' | 'UNSUPPORTED', message: string): never {
  throw new HalftoneError(code, message, { where: NATIVE });
}

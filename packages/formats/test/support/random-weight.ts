import {
  type Codes,
  type Granularity,
  type Grid,
  type NativeArray,
  type PackedTensor,
  type ParameterTensor,
  packCodes,
  packedByteLength,
  type QuantizedTensor,
  type Tensor,
  tensor,
} from '@halftone/tensor';
import fc from 'fast-check';
import { numbers } from './sample-weights.js';

type Generator = fc.GeneratorValue;
type Draft<T> = { -readonly [Key in keyof T]: T[Key] };

const FLOAT_GRIDS = [
  [2, 1],
  [4, 3],
  [5, 2],
  [3, 2],
  [5, 6],
  [8, 0],
] as const;

/** JSON objects of any kind, with `__proto__` and signed zeros. Made once: making it takes longer than drawing from it. */
const JSON_OBJECT = fc.dictionary(
  fc.oneof(fc.string(), fc.constant('__proto__')),
  fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constant(-0)),
  { maxKeys: 4, noNullPrototype: true },
);
const json = () => JSON_OBJECT;

/** Any quantized tensor that `validateQuantized` accepts: all grids, granularities and side parts, hostile values in them. */
export function randomWeight(g: Generator, level = 0, fixedShape?: readonly number[]): QuantizedTensor {
  const shape = fixedShape ?? randomShape(g);
  const columns = shape[shape.length - 1] ?? 1;
  const grid = randomGrid(g, columns);
  const granularity = randomGranularity(g, shape);
  const parameters = shape.map((n, axis) => Math.ceil(n / groupAlong(granularity, axis, n)));
  const parts: Draft<QuantizedTensor['parts']> = { codes: randomCodes(g, grid, shape) };
  if (g(fc.boolean)) parts.scales = randomParameter(g, parameters, level);
  if (grid.type === 'affine' && !grid.symmetric && g(fc.boolean)) parts.zeros = randomParameter(g, parameters, level);
  if ((grid.type !== 'affine' ? false : !grid.symmetric) && g(fc.boolean)) {
    parts.offsets = randomParameter(g, parameters, level);
  }
  if (grid.type === 'lookup') {
    const { bits, stages, vectorLength, signs } = grid;
    const entries = stages * 2 ** bits;
    parts.codebook = tensor(
      floats(g, entries * vectorLength),
      vectorLength === 1 ? [entries] : [entries, vectorLength],
    );
    if (signs)
      parts.signs = pack(
        g,
        bytes(g, count(shape)).map((byte) => byte & 1),
        1,
        shape,
      );
  }
  if (g(fc.boolean)) parts.globalScale = g(fc.double);
  if (g(fc.boolean)) sideParts(g, shape, granularity, parameters, parts);
  return {
    kind: 'quantized',
    shape,
    scheme: {
      name: g(fc.constantFrom, 'affine', 'ggml:Q4_K', '__proto__', 'ö "\\'),
      version: g(fc.nat),
      grid,
      granularity,
      ...(g(fc.boolean) ? { input: [{ type: 'hadamard', ...(g(json) as object) }] } : {}),
      ...(g(fc.boolean) ? { params: { ...(g(json) as object) } } : {}),
    },
    parts,
  };
}

function randomShape(g: Generator): number[] {
  const dimension = () => g(fc.integer, { min: 1, max: 9 });
  const kind = g(fc.integer, { min: 0, max: 9 });
  if (kind === 0) return [];
  if (kind === 1) return [dimension()];
  if (kind === 2) return [dimension(), dimension(), dimension()];
  if (kind === 3) return [0, dimension()];
  return [dimension(), dimension() * g(fc.constantFrom, 1, 4)];
}

function randomGrid(g: Generator, columns: number): Grid {
  const type = g(fc.constantFrom, 'affine', 'float', 'lookup');
  if (type === 'affine') {
    return {
      type: 'affine',
      bits: g(fc.integer, { min: 1, max: 16 }),
      signed: g(fc.boolean),
      symmetric: g(fc.boolean),
    };
  }
  if (type === 'float') {
    const [exponent, mantissa] = g(fc.constantFrom, ...FLOAT_GRIDS);
    return { type: 'float', exponent, mantissa, bias: g(fc.integer, { min: 0, max: 20 }) };
  }
  const divisors = [1, 2, 4, 8].filter((length) => columns % length === 0);
  const grid: Grid = {
    type: 'lookup',
    bits: g(fc.integer, { min: 1, max: 5 }),
    vectorLength: g(fc.constantFrom, ...divisors),
    stages: g(fc.integer, { min: 1, max: 3 }),
  };
  const signs = g(fc.constantFrom, undefined, true, false);
  return signs === undefined ? grid : { ...grid, signs };
}

function randomGranularity(g: Generator, shape: readonly number[]): Granularity {
  const type = g(fc.constantFrom, 'tensor', 'axis', 'group', 'block');
  if (type === 'block' && shape.length === 2) {
    return { type, rows: g(fc.integer, { min: 1, max: 4 }), columns: g(fc.integer, { min: 1, max: 5 }) };
  }
  if (type === 'tensor' || type === 'block' || shape.length === 0) return { type: 'tensor' };
  const axis = g(fc.integer, { min: 0, max: shape.length - 1 });
  return type === 'axis' ? { type, axis } : { type, axis, size: g(fc.integer, { min: 1, max: 6 }) };
}

function groupAlong(granularity: Granularity, axis: number, n: number): number {
  if (granularity.type === 'block') return axis === 0 ? granularity.rows : granularity.columns;
  if (granularity.type === 'tensor' || granularity.axis !== axis) {
    return granularity.type === 'group' ? 1 : Math.max(n, 1);
  }
  return granularity.type === 'group' ? granularity.size : 1;
}

function randomCodes(g: Generator, grid: Grid, shape: readonly number[]): Codes {
  if (grid.type === 'lookup') {
    const vectors = shape.map((n, axis) => (axis === shape.length - 1 ? n / grid.vectorLength : n));
    const full = grid.stages > 1 ? [grid.stages, ...vectors] : vectors;
    return pack(
      g,
      bytes(g, count(full)).map((byte) => byte & (2 ** grid.bits - 1)),
      grid.bits,
      full,
    );
  }
  const bits = grid.type === 'affine' ? grid.bits : 1 + grid.exponent + grid.mantissa;
  const signed = grid.type === 'affine' && grid.signed;
  if (bits > 8) {
    const words = new Uint16Array(bytes(g, 2 * count(shape)).buffer);
    return tensor(signed ? new Int16Array(words.buffer) : words, [...shape]);
  }
  const codes = bytes(g, count(shape)).map((byte) => byte & (2 ** bits - 1));
  if (!signed) return pack(g, codes, bits, shape);
  const integers = Int8Array.from(codes, (code) => code - 2 ** (bits - 1));
  return g(fc.boolean) ? packCodes(integers, bits, true, shape) : tensor(integers, [...shape]);
}

function pack(g: Generator, codes: Uint8Array, bits: number, shape: readonly number[]): Codes {
  const kind = g(fc.constantFrom, 'packed', 'plain', 'wide');
  if (kind === 'packed') return packCodes(codes, bits, false, shape);
  return tensor(kind === 'plain' ? codes : Uint16Array.from(codes), [...shape]);
}

function randomParameter(g: Generator, shape: readonly number[], level: number): ParameterTensor {
  const n = count(shape);
  switch (g(fc.integer, { min: 0, max: level < 2 ? 4 : 3 })) {
    case 0:
      return tensor(floats(g, n), [...shape]);
    case 1: {
      const dtype = g(fc.constantFrom, 'f16', 'bf16', 'f8_e4m3', 'f8_e8m0', 'u3', 'f4_e2m1', 'f6_e2m3', 'f64');
      return {
        kind: 'packed',
        dtype,
        shape: [...shape],
        bytes: bytes(g, packedByteLength(dtype, shape)),
      } as PackedTensor;
    }
    case 2: {
      const kinds = [Float64Array, Int32Array, Int16Array, Int8Array, Uint32Array, Uint8Array, Uint8ClampedArray];
      const Kind = g(fc.constantFrom, ...kinds);
      const data = bytes(g, n * Kind.BYTES_PER_ELEMENT).buffer;
      return tensor(new Kind(data) as NativeArray, [...shape]) as Tensor;
    }
    case 3:
      // Dimensions of 1 do not count.
      return tensor(floats(g, n), [1, ...shape, 1]);
    default:
      return randomWeight(g, level + 1, shape);
  }
}

function sideParts(
  g: Generator,
  shape: readonly number[],
  granularity: Granularity,
  parameters: readonly number[],
  parts: Draft<QuantizedTensor['parts']>,
): void {
  const columns = shape[shape.length - 1] ?? 1;
  const rows = columns === 0 ? 0 : count(shape) / columns;
  if (granularity.type === 'group' && granularity.axis === shape.length - 1 && count(shape) > 0) {
    const groups = parameters[parameters.length - 1] as number;
    parts.groupIndex = Uint32Array.from(bytes(g, columns), (byte) => byte % groups);
  }
  parts.permutation = Uint32Array.from(g(fc.shuffledSubarray, [...Array(columns).keys()], { minLength: columns }));
  if (g(fc.boolean)) parts.channelScale = floats(g, columns);
  if (shape.length === 2) {
    const pointers = [0];
    const chosen: number[] = [];
    for (let row = 0; row < rows; row++) {
      chosen.push(...g(fc.subarray, [...Array(columns).keys()], { maxLength: Math.min(3, columns) }));
      pointers.push(chosen.length);
    }
    parts.outliers = {
      shape: [shape[0] as number, columns],
      rowPointers: Uint32Array.from(pointers),
      columns: Uint32Array.from(chosen),
      values: floats(g, chosen.length),
    };
    const rank = g(fc.integer, { min: 1, max: 3 });
    parts.lowRank = {
      left: tensor(floats(g, rows * rank), [rows, rank]),
      right: tensor(floats(g, rank * columns), [rank, columns]),
    };
  }
}

/** Any bits: NaN with payloads, infinities, denormals, signed zeros. */
function floats(g: Generator, n: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bytes(g, 4 * n).buffer);
  const special = [0, -0, Number.NaN, Infinity, -Infinity, 1e-45, 3.4e38, 0.5, -1.25];
  const next = numbers(g(fc.integer, { min: 1, max: 1e6 }));
  for (let i = 0; i < n; i++) if (next(2) === 0) values[i] = special[next(special.length)] as number;
  return values;
}

function bytes(g: Generator, n: number): Uint8Array<ArrayBuffer> {
  const next = numbers(g(fc.integer, { min: 1, max: 1e6 }));
  return Uint8Array.from({ length: n }, () => next(65_536) >> 8);
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** The same value with typed arrays as text, so that comparing it compares their kind and all their bits. */
export function comparable(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    const view = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `${value.constructor.name} ${Buffer.from(view).toString('hex')}`;
  }
  if (Array.isArray(value)) return value.map(comparable);
  if (value instanceof Map) return new Map([...value].map(([key, member]) => [key, comparable(member)]));
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : value;
  return new Map(
    Object.entries(value)
      .map(([key, member]) => [key, comparable(member)] as const)
      .sort(byKey),
  );
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

/** Reading the parts of a quantized tensor for packing: exact, or refused. */
import {
  type Codes,
  contiguousData,
  DTYPES,
  type DType,
  decode,
  encode,
  type Grid,
  HalftoneError,
  isDType,
  type PackedTensor,
  type ParameterTensor,
  packed,
  type QuantizedParts,
  type QuantizedTensor,
  type Scheme,
  type Shape,
  sameShape,
  type Tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';

type CodeArray = Int8Array | Uint8Array | Uint16Array;
type Decodable = PackedTensor<DType> | QuantizedTensor;

/** Throws `UNSUPPORTED` unless both schemes have the same grid and groups and the input is not transformed. */
export function matchScheme(actual: Scheme, expected: Scheme, where: string): void {
  const facts = ({ grid, granularity }: Scheme): string =>
    [
      ...gridFacts(grid),
      ...(granularity.type === 'group' ? ['group', granularity.axis, granularity.size] : [granularity.type]),
    ].join(' ');
  if (facts(actual) !== facts(expected)) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `scheme ${actual.name} (${facts(actual)}) is not ${facts(expected)}; quantize for ${expected.name}`,
      { where, details: { scheme: actual } },
    );
  }
  if (actual.input !== undefined && actual.input.length > 0) {
    throw new HalftoneError(
      'UNSUPPORTED',
      'blocks cannot say that the input is transformed; fold the transform into the weights',
      {
        where,
        details: { input: actual.input },
      },
    );
  }
}

function gridFacts(grid: Grid): readonly (string | number | boolean)[] {
  if (grid.type === 'affine') return [grid.type, grid.bits, grid.signed, grid.symmetric];
  if (grid.type === 'float') return [grid.type, grid.exponent, grid.mantissa, grid.bias];
  return [grid.type, grid.bits, grid.vectorLength, grid.stages, grid.signs ?? false];
}

/** Throws `UNSUPPORTED` for parts that no ggml block of this grid can hold. */
export function refuseParts(parts: QuantizedParts, grid: Grid, where: string): void {
  const names = ['zeros', 'groupIndex', 'permutation', 'channelScale', 'outliers', 'lowRank'] as const;
  const present: string[] = names.filter((name) => parts[name] !== undefined);
  if (parts.codebook !== undefined && grid.type !== 'lookup') present.push('codebook');
  if (parts.signs !== undefined && !(grid.type === 'lookup' && grid.signs)) present.push('signs');
  if (parts.globalScale !== undefined && parts.globalScale !== 1) present.push('globalScale');
  if (present.length > 0) {
    throw new HalftoneError('UNSUPPORTED', `blocks cannot hold ${present.join(', ')}; decode and quantize again`, {
      where,
      details: { parts: present },
    });
  }
}

/**
 * Entries of a codebook that has the values of `expected`; undefined where none is expected.
 * Throws `SHAPE` when it is missing, `RANGE` when it differs.
 */
export function matchCodebook(
  codebook: Tensor<Float32Array> | undefined,
  expected: Tensor<Float32Array> | undefined,
  what: string,
  where: string,
): number | undefined {
  if (expected === undefined) return undefined;
  if (codebook === undefined) throw new HalftoneError('SHAPE', `the tensor has no ${what}`, { where });
  const values = contiguousData(codebook);
  if (values.length !== expected.data.length || values.some((value, i) => !Object.is(value, expected.data[i]))) {
    throw new HalftoneError('RANGE', `the ${what} is not ggml's, which blocks do not store; use ggmlCodebook`, {
      where,
      details: { shape: codebook.shape, expected: expected.shape },
    });
  }
  return expected.shape[0];
}

/** An array for codes of a grid. */
export function gridCodes(grid: Grid, length: number): CodeArray {
  if (grid.type === 'affine' && grid.signed) return new Int8Array(length);
  return grid.type === 'lookup' && grid.bits > 8 ? new Uint16Array(length) : new Uint8Array(length);
}

/** Codes one an element or vector, inside the grid, which has `entries` where it is a lookup. Throws `SHAPE` and `RANGE`. */
export function codesOf(
  codes: Codes,
  grid: Grid,
  entries: number | undefined,
  shape: Shape,
  what: string,
  where: string,
): CodeArray {
  if (!sameShape(codes.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${codes.shape}], expected [${shape}]`, { where });
  }
  const bits = grid.type === 'float' ? 1 + grid.exponent + grid.mantissa : grid.bits;
  const lowest = grid.type === 'affine' && grid.signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + (entries ?? 2 ** bits) - 1;
  const values = unpackCodes(codes);
  for (let i = 0; i < values.length; i++) {
    if (values[i] < lowest || values[i] > highest) {
      throw new HalftoneError('RANGE', `${what}: ${values[i]} at ${i} is outside ${lowest} .. ${highest}`, {
        where,
        details: { what, element: i, code: values[i] },
      });
    }
  }
  const own = gridCodes(grid, 0);
  if (values.constructor === own.constructor) return values as CodeArray;
  const converted = gridCodes(grid, values.length);
  converted.set(values);
  return converted;
}

/** How a type stores its scales: floats, or codes of the groups (where `scaleScheme` is given) over floats. */
export interface ScaleFields {
  readonly floatType: DType;
  readonly scaleScheme: Scheme | undefined;
  readonly scaleCodebook: () => Tensor<Float32Array> | undefined;
}

/** Scales or offsets: float bits, of shape `floatShape`, and the codes of the groups where there are any. */
export function parameterOf(
  parameter: ParameterTensor | undefined,
  what: string,
  { floatType, scaleScheme: scheme, scaleCodebook }: ScaleFields,
  shape: Shape,
  floatShape: Shape,
  where: string,
): { words: Uint16Array | Uint8Array; codes: CodeArray } {
  if (parameter === undefined) {
    throw new HalftoneError('SHAPE', `the tensor has no ${what}`, { where });
  }
  if (scheme === undefined) {
    return { words: exactWords(parameter, floatType, shape, what, where), codes: new Uint8Array(0) };
  }
  if (parameter.kind !== 'quantized') {
    throw new HalftoneError('UNSUPPORTED', `${what} must be quantized themselves, as ${scheme.name}`, { where });
  }
  if (!sameShape(parameter.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${parameter.shape}], expected [${shape}]`, { where });
  }
  matchScheme(parameter.scheme, scheme, where);
  refuseParts(parameter.parts, scheme.grid, where);
  if (parameter.parts.offsets !== undefined) {
    throw new HalftoneError('UNSUPPORTED', `the ${what} cannot have offsets of their own`, { where });
  }
  if (parameter.parts.scales === undefined) {
    throw new HalftoneError('SHAPE', `the ${what} have no super-scales`, { where });
  }
  const { codes, codebook, scales } = parameter.parts;
  const entries = matchCodebook(codebook, scaleCodebook(), `codebook of the ${what}`, where);
  return {
    words: exactWords(scales, floatType, floatShape, `super-scales of the ${what}`, where),
    codes: codesOf(codes, scheme.grid, entries, shape, `codes of the ${what}`, where),
  };
}

/** Bits of values that `dtype` (f16 or an 8-bit float) holds exactly. */
function exactWords(
  parameter: ParameterTensor,
  dtype: DType,
  shape: Shape,
  what: string,
  where: string,
): Uint16Array | Uint8Array {
  if (!sameShape(parameter.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${parameter.shape}], expected [${shape}]`, { where });
  }
  // A copy, so that the words are aligned. NaN payloads and signs survive.
  if (parameter.kind === 'packed' && parameter.dtype === dtype) return wordsOf(packed(dtype, shape, parameter.bytes));
  if (parameter.kind === 'packed' && (!isDType(parameter.dtype) || DTYPES[parameter.dtype].bits > 32)) {
    throw new HalftoneError('DTYPE', `${what} are ${parameter.dtype}; give them as ${dtype} or f32`, { where });
  }
  const source = parameter.kind === undefined ? contiguousData(parameter) : toFloat32(parameter as Decodable);
  const values = Float64Array.from(source as ArrayLike<number>, Number);
  // E8M0 has no sign: a negative value is found to differ from its magnitude below.
  const encoded = encode(dtype === 'f8_e8m0' ? values.map(Math.abs) : values, dtype, shape);
  const rounded = decode(encoded);
  for (let i = 0; i < rounded.length; i++) {
    if (!Object.is(rounded[i], values[i])) {
      throw new HalftoneError(
        'RANGE',
        `${what}: ${values[i]} at element ${i} is not an ${dtype}; round scales before choosing codes`,
        {
          where,
          details: { what, element: i, value: values[i] },
        },
      );
    }
  }
  return wordsOf(encoded);
}

function wordsOf({ dtype, bytes }: PackedTensor<DType>): Uint16Array | Uint8Array {
  const copy = new Uint8Array(bytes);
  return DTYPES[dtype].bits === 16 ? new Uint16Array(copy.buffer) : copy;
}

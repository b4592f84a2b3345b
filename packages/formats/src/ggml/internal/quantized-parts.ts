/** Reading the parts of a quantized tensor for packing: exact, or refused. */
import {
  type Codes,
  contiguousData,
  DTYPES,
  type DType,
  type Grid,
  HalftoneError,
  isDType,
  numberToFloat16,
  type PackedTensor,
  type ParameterTensor,
  packed,
  type QuantizedParts,
  type QuantizedTensor,
  roundToFloat16,
  type Scheme,
  type Shape,
  sameShape,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';

type CodeArray = Int8Array | Uint8Array;
type Decodable = PackedTensor<DType> | QuantizedTensor;

/** f16 bits as a packed tensor, without copying. */
export function encodedFloats(words: Uint16Array, shape: Shape): PackedTensor<'f16'> {
  return {
    kind: 'packed',
    dtype: 'f16',
    shape: [...shape],
    bytes: new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
  };
}

/** Throws `UNSUPPORTED` unless both schemes have the same grid and groups and the input is not transformed. */
export function matchScheme(actual: Scheme, expected: Scheme, where: string): void {
  const facts = ({ grid, granularity }: Scheme): string =>
    [
      ...(grid.type === 'affine' ? [grid.type, grid.bits, grid.signed, grid.symmetric] : [grid.type]),
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

/** Throws `UNSUPPORTED` for parts that no ggml block can hold. */
export function refuseParts(parts: QuantizedParts, where: string): void {
  const names = ['zeros', 'codebook', 'groupIndex', 'permutation', 'channelScale', 'outliers', 'lowRank'] as const;
  const present: string[] = names.filter((name) => parts[name] !== undefined);
  if (parts.globalScale !== undefined && parts.globalScale !== 1) present.push('globalScale');
  if (present.length > 0) {
    throw new HalftoneError('UNSUPPORTED', `blocks cannot hold ${present.join(', ')}; decode and quantize again`, {
      where,
      details: { parts: present },
    });
  }
}

/** Codes one an element, inside the grid. Throws `SHAPE` and `RANGE`. */
export function codesOf(codes: Codes, grid: Grid, shape: Shape, what: string, where: string): CodeArray {
  if (!sameShape(codes.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${codes.shape}], expected [${shape}]`, { where });
  }
  const { bits, signed } = grid as Extract<Grid, { type: 'affine' }>;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  const values = unpackCodes(codes);
  for (let i = 0; i < values.length; i++) {
    if (values[i] < lowest || values[i] > highest) {
      throw new HalftoneError('RANGE', `${what}: ${values[i]} at element ${i} is outside ${lowest} .. ${highest}`, {
        where,
        details: { what, element: i, code: values[i] },
      });
    }
  }
  if (values instanceof Int8Array || values instanceof Uint8Array) return values;
  return signed ? Int8Array.from(values) : Uint8Array.from(values);
}

/** Scales or offsets: f16 bits a block, and for K-quants (where `scheme` is given) the codes of the groups. */
export function parameterOf(
  parameter: ParameterTensor | undefined,
  what: string,
  scheme: Scheme | undefined,
  shape: Shape,
  superShape: Shape,
  where: string,
): { words: Uint16Array; codes: CodeArray } {
  if (parameter === undefined) {
    throw new HalftoneError('SHAPE', `the tensor has no ${what}`, { where });
  }
  if (scheme === undefined) return { words: exactWords(parameter, shape, what, where), codes: new Uint8Array(0) };
  if (parameter.kind !== 'quantized') {
    throw new HalftoneError('UNSUPPORTED', `${what} must be quantized themselves, as ${scheme.name}`, { where });
  }
  if (!sameShape(parameter.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${parameter.shape}], expected [${shape}]`, { where });
  }
  matchScheme(parameter.scheme, scheme, where);
  refuseParts(parameter.parts, where);
  if (parameter.parts.offsets !== undefined) {
    throw new HalftoneError('UNSUPPORTED', `the ${what} cannot have offsets of their own`, { where });
  }
  if (parameter.parts.scales === undefined) {
    throw new HalftoneError('SHAPE', `the ${what} have no super-scales`, { where });
  }
  return {
    words: exactWords(parameter.parts.scales, superShape, `super-scales of the ${what}`, where),
    codes: codesOf(parameter.parts.codes, scheme.grid, shape, `codes of the ${what}`, where),
  };
}

/** f16 bits of values that f16 holds exactly. */
function exactWords(parameter: ParameterTensor, shape: Shape, what: string, where: string): Uint16Array {
  if (!sameShape(parameter.shape, shape)) {
    throw new HalftoneError('SHAPE', `${what} have shape [${parameter.shape}], expected [${shape}]`, { where });
  }
  if (parameter.kind === 'packed' && parameter.dtype === 'f16') {
    // A copy, so that the words are aligned. NaN payloads and signs survive.
    return new Uint16Array(new Uint8Array(packed('f16', shape, parameter.bytes).bytes).buffer);
  }
  if (parameter.kind === 'packed' && (!isDType(parameter.dtype) || DTYPES[parameter.dtype].bits > 32)) {
    throw new HalftoneError('DTYPE', `${what} are ${parameter.dtype}; give them as f16 or f32`, { where });
  }
  const values = parameter.kind === undefined ? contiguousData(parameter) : toFloat32(parameter as Decodable);
  return Uint16Array.from(values as Float32Array, (value, i) => {
    if (!Object.is(roundToFloat16(value), value)) {
      throw new HalftoneError(
        'RANGE',
        `${what}: ${value} at element ${i} is not an f16; round scales before choosing codes`,
        {
          where,
          details: { what, element: i, value },
        },
      );
    }
    return numberToFloat16(value);
  });
}

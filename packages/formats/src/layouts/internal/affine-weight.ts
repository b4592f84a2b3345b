/** The form that integer layouts share: unsigned codes, and a scale and a zero or an offset for each group of columns. */
import {
  type CodeArray,
  type DType,
  decode,
  encode,
  HalftoneError,
  type PackedTensor,
  type ParameterTensor,
  type QuantizedTensor,
  type Scheme,
  type Tensor,
  tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { zerosOfOffsets } from './zeros-of-offsets.js';

export interface AffineWeight {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  /** Columns that share a scale: `columns` where a row has one. The last group of a row may be shorter. */
  readonly groupSize: number;
  /** Groups of a row. */
  readonly groups: number;
  /** `[rows, columns]`, `0 .. 2^bits - 1`. */
  readonly codes: Uint8Array | Uint16Array;
  /** `[rows, groups]` */
  readonly scales: Float32Array;
  /** `[rows, groups]`, in units of the unsigned codes. Signed codes without zeros have `2^(bits - 1)` everywhere. */
  readonly zeros: Float32Array;
  /** All zeros are `2^(bits - 1)`, and there are no offsets. */
  readonly symmetric: boolean;
  /** `[rows, groups]`, in units of values, added after scaling. */
  readonly offsets?: Float32Array;
  /** `[columns]`: the group of each column, where it is not `floor(column / groupSize)`. */
  readonly groupIndex?: Uint32Array;
}

/**
 * An affine weight `[out, in]` with groups along its rows, from any of its forms: signed or unsigned codes, plain, packed or
 * again quantized parameters, one scale for the tensor, a row or a group. Its values are exactly those of `dequantize`; where
 * offsets are whole multiples of their scales they become zeros, which may change the sign of values that are zero.
 *
 * Throws `UNSUPPORTED` for other grids and groups, for transformed inputs, and for parts that only some layouts know
 * (permutation, channelScale, outliers, lowRank).
 */
export function affineWeight(q: QuantizedTensor, where: string): AffineWeight {
  const { grid, granularity } = q.scheme;
  const refuse = (reason: string): never => {
    throw new HalftoneError('UNSUPPORTED', `scheme ${q.scheme.name}: ${reason}`, {
      where,
      details: { scheme: q.scheme },
    });
  };
  if (grid.type !== 'affine') return refuse('only integer codes with scales can be held; decode and quantize again');
  if (q.shape.length !== 2) return refuse(`shape [${q.shape}] is not a matrix [out, in]`);
  refuseSideParts(q, where);
  const [rows, columns] = q.shape as readonly [number, number];
  let groupSize = Math.max(1, columns);
  if (granularity.type === 'group') {
    if (granularity.axis !== 1) refuse('groups must run along the input (axis 1)');
    groupSize = Math.min(granularity.size, groupSize);
  } else if (granularity.type === 'axis' && granularity.axis !== 0) refuse('scales must belong to rows, not columns');
  else if (granularity.type === 'block') refuse('scales must belong to rows or groups of a row, not blocks');
  const groups = Math.ceil(columns / groupSize);
  const count = rows * groups;
  const spread = (part: ParameterTensor | undefined): Float32Array | undefined => {
    if (part === undefined) return undefined;
    const values = toFloat32(part as Tensor);
    return granularity.type === 'tensor' ? new Float32Array(count).fill(values[0] as number) : values;
  };
  const half = grid.signed ? 2 ** (grid.bits - 1) : 0;
  const given = spread(q.parts.zeros);
  const zeros = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const zero = given?.[i] ?? 0;
    zeros[i] = zero + half;
    if (!Number.isNaN(zero) && (zeros[i] as number) - half !== zero)
      refuse(`zero ${zero} of signed codes cannot be moved by ${half}`);
  }
  const factor = q.parts.globalScale ?? 1;
  const scales = spread(q.parts.scales) ?? new Float32Array(count).fill(1);
  const scaled = factor === 1 ? scales : scales.map((scale) => scale * factor);
  const givenOffsets = spread(q.parts.offsets);
  const moved = givenOffsets && zerosOfOffsets(grid.bits, { scales: scaled, zeros, offsets: givenOffsets });
  const offsets = moved ? undefined : givenOffsets;
  const wholeZeros = moved ?? zeros;
  const { groupIndex } = q.parts;
  return {
    rows,
    columns,
    bits: grid.bits,
    groupSize,
    groups,
    codes: unsignedCodes(unpackCodes(q.parts.codes), half, grid.bits, where),
    scales: scaled,
    zeros: wholeZeros,
    symmetric: offsets === undefined && wholeZeros.every((zero) => zero === 2 ** (grid.bits - 1)),
    ...(offsets === undefined ? {} : { offsets }),
    ...(groupIndex?.some((group, column) => group !== Math.floor(column / groupSize)) ? { groupIndex } : {}),
  };
}

function unsignedCodes(codes: CodeArray, half: number, bits: number, where: string): Uint8Array | Uint16Array {
  const out = bits > 8 ? new Uint16Array(codes.length) : new Uint8Array(codes.length);
  const limit = 2 ** bits;
  for (let i = 0; i < codes.length; i++) {
    const code = (codes[i] as number) + half;
    if (code < 0 || code >= limit) {
      throw new HalftoneError('RANGE', `code ${codes[i]} at element ${i} does not fit in ${bits} bits`, { where });
    }
    out[i] = code;
  }
  return out;
}

/** Throws `UNSUPPORTED` for what stands beside codes and scales. */
export function refuseSideParts({ scheme, parts }: QuantizedTensor, where: string): void {
  const names = ['permutation', 'channelScale', 'outliers', 'lowRank'] as const;
  const present: string[] = names.filter((name) => parts[name] !== undefined);
  if (scheme.input !== undefined && scheme.input.length > 0) present.push('input transforms');
  if (present.length === 0) return;
  throw new HalftoneError('UNSUPPORTED', `the layout has no place for ${present.join(', ')}`, {
    where,
    details: { parts: present },
  });
}

/** Zeros as whole numbers of `0 .. 2^bits - 1`. Throws `UNSUPPORTED` for others, and where there are offsets. */
export function integerZeros(weight: AffineWeight, where: string): Uint8Array {
  const { zeros, bits, offsets } = weight;
  if (offsets?.some((offset) => offset !== 0)) {
    throw new HalftoneError('UNSUPPORTED', 'the layout has integer zeros and no offsets', { where });
  }
  const highest = 2 ** bits - 1;
  return Uint8Array.from(zeros, (zero, i) => {
    if (Number.isInteger(zero) && zero >= 0 && zero <= highest) return zero;
    throw new HalftoneError('UNSUPPORTED', `zero ${zero} of group ${i} is not a whole number of 0 .. ${highest}`, {
      where,
      details: { group: i, zero },
    });
  });
}

/**
 * Values in the first of `dtypes` that holds every one exactly. Throws `UNSUPPORTED` naming one that none of them holds.
 */
export function exactFloats<T extends DType>(
  values: Float32Array,
  dtypes: readonly T[],
  shape: readonly number[],
  what: string,
  where: string,
): PackedTensor<T> {
  let misfit = 0;
  for (const dtype of dtypes) {
    // Powers of two have no sign.
    misfit = dtype === 'f8_e8m0' ? values.findIndex((value) => value < 0) : -1;
    if (misfit >= 0) continue;
    const encoded = encode(values, dtype, shape);
    const decoded = decode(encoded);
    misfit = values.findIndex((value, i) => !Object.is(value, decoded[i]));
    if (misfit < 0) return encoded;
  }
  throw new HalftoneError(
    'UNSUPPORTED',
    `${what}: ${values[misfit]} (element ${misfit}) cannot be stored exactly as ${dtypes.join(' or ')}`,
    { where, details: { what, element: misfit, value: values[misfit], dtypes } },
  );
}

/** What a reader found, as a quantized tensor: unsigned codes, one a byte, with whole zeros. */
export function affineTensor(weight: {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  /** 0: one for each row. */
  readonly groupSize: number;
  readonly codes: Uint8Array;
  /** `[rows, groups]` */
  readonly scales: ParameterTensor;
  /** `[rows, groups]` */
  readonly zeros?: Uint8Array;
  /** `[rows, groups]` */
  readonly offsets?: ParameterTensor;
  readonly groupIndex?: Uint32Array;
}): QuantizedTensor {
  const { rows, columns, bits, groupSize, codes, scales, zeros, offsets, groupIndex } = weight;
  const groups = groupSize === 0 ? 1 : Math.ceil(columns / groupSize);
  return {
    kind: 'quantized',
    shape: [rows, columns],
    scheme: affineScheme(bits, groupSize, zeros === undefined && offsets === undefined),
    parts: {
      codes: tensor(codes, [rows, columns]),
      scales,
      ...(zeros === undefined ? {} : { zeros: tensor(zeros, [rows, groups]) }),
      ...(offsets === undefined ? {} : { offsets }),
      ...(groupIndex === undefined ? {} : { groupIndex }),
    },
  };
}

/** The scheme of `affineTensor`. `groupSize` 0: one scale for each row. */
export function affineScheme(bits: number, groupSize: number, symmetric = false): Scheme {
  return {
    name: 'affine',
    version: 1,
    grid: { type: 'affine', bits, signed: false, symmetric },
    granularity: groupSize === 0 ? { type: 'axis', axis: 0 } : { type: 'group', axis: 1, size: groupSize },
  };
}

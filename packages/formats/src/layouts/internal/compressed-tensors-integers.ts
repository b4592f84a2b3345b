/** compressed-tensors layers of integers: packed into words, or one a byte. */
import {
  type DType,
  type Granularity,
  type LazyQuantizedTensor,
  type LazyTensor,
  nativeData,
  type PackedTensor,
  type ParameterTensor,
  type ReadOptions,
  type Scheme,
  tensor,
} from '@halftone/tensor';
import type { CompressedWeights } from './compressed-tensors-config.js';
import {
  type CompressedLayer,
  fail,
  groupIndexPart,
  readGroupIndex,
  SCALE_TYPES,
  scalePart,
  WHERE,
} from './compressed-tensors-parts.js';
import {
  packWordRows,
  transposed,
  transposedCodes,
  unpackWordRows,
  type WordPacking,
  wordsPerRow,
} from './packed-words.js';
import { expectShape, matrixSides, needPart, storedWeight } from './weight-parts.js';

const PACKINGS: readonly WordPacking[] = ['dense', 'padded'];

/** pack-quantized: `code + 2^(bits-1)` in int32 words along the input. */
export async function packedIntegers(layer: CompressedLayer, options?: ReadOptions): Promise<LazyQuantizedTensor> {
  const { checkpoint, module, settings } = layer;
  const { bits, symmetric } = settings;
  const words = needPart(checkpoint, `${module}.weight_packed`, ['i32'], WHERE);
  const [rows, width] = matrixSides(words, WHERE);
  const shapePart = needPart(checkpoint, `${module}.weight_shape`, ['i64', 'i32'], WHERE);
  expectShape(shapePart, WHERE, [2]);
  const [givenRows, columns] = Array.from(nativeData(await shapePart.read(undefined, options)), Number);
  const fits = PACKINGS.filter((p) => wordsPerRow(columns as number, bits, p) === width);
  if (givenRows !== rows || columns === undefined || !(columns > 0) || fits.length === 0) {
    return fail(
      'FORMAT',
      `${module}.weight_shape [${givenRows}, ${columns}] does not fit weight_packed [${rows}, ${width}]`,
      {
        module,
        bits,
      },
    );
  }
  const { granularity, scales } = scalePart(layer, [rows, columns], SCALE_TYPES);
  const groups = granularity.type === 'group' ? (scales.shape[1] as number) : 1;
  const zeros = symmetric ? undefined : zeroPart(layer, scales, rows, groups);
  const indices = groupIndexPart(layer, columns);
  return storedWeight({
    layout: WHERE,
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: integerScheme(settings, granularity),
    parts: { words, scales, zeros, indices, shape: shapePart },
    decode(parts) {
      const data = (parts.words as PackedTensor).bytes;
      const codes = unpackWordRows(data, bits, rows, columns, packingOf(layer, fits, data, rows, columns));
      const groupIndex = readGroupIndex(parts.indices, layer, columns, groups);
      return {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: integerScheme(settings, granularity),
        parts: {
          codes: tensor(signed(codes, bits), [rows, columns]),
          scales: parts.scales as PackedTensor<DType>,
          ...(parts.zeros === undefined ? {} : { zeros: readZeros(parts.zeros, layer, rows, groups) }),
          ...(groupIndex === undefined ? {} : { groupIndex }),
        },
      };
    },
  });
}

/** int-quantized: one int8 for each code. */
export function int8Weight(layer: CompressedLayer): LazyQuantizedTensor {
  const { checkpoint, module, settings } = layer;
  const weight = needPart(checkpoint, `${module}.weight`, ['i8'], WHERE);
  const [rows, columns] = matrixSides(weight, WHERE);
  const { granularity, scales } = scalePart(layer, [rows, columns], SCALE_TYPES);
  const zeros = settings.symmetric ? undefined : needPart(checkpoint, `${module}.weight_zero_point`, ['i8'], WHERE);
  if (zeros !== undefined) expectShape(zeros, WHERE, scales.shape);
  const indices = groupIndexPart(layer, columns);
  const highest = 2 ** (settings.bits - 1) - 1;
  return storedWeight({
    layout: WHERE,
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: integerScheme(settings, granularity),
    parts: { weight, scales, zeros, indices },
    decode(parts) {
      const codes = nativeData(parts.weight as PackedTensor<'i8'>);
      const bad = codes.findIndex((code) => code > highest || code < -highest - 1);
      if (bad >= 0)
        fail('RANGE', `${weight.name}: ${codes[bad]} at ${bad} is not of ${settings.bits} bits`, { element: bad });
      const groupIndex = readGroupIndex(parts.indices, layer, columns, scales.shape[1] ?? 1);
      return {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: integerScheme(settings, granularity),
        parts: {
          codes: tensor(codes, [rows, columns]),
          scales: parts.scales as PackedTensor<DType>,
          ...(parts.zeros === undefined ? {} : { zeros: parts.zeros as PackedTensor<DType> }),
          ...(groupIndex === undefined ? {} : { groupIndex }),
        },
      };
    },
  });
}

function integerScheme({ bits, symmetric }: CompressedWeights, granularity: Granularity): Scheme {
  return { name: 'affine', version: 1, grid: { type: 'affine', bits, signed: true, symmetric }, granularity };
}

/** Zero points are packed like codes, but along the output: `[words, groups]`. One for the whole tensor is a plain int8. */
function zeroPart({ checkpoint, module, settings }: CompressedLayer, scales: LazyTensor, rows: number, groups: number) {
  const zeros = needPart(checkpoint, `${module}.weight_zero_point`, ['i32', 'i8'], WHERE);
  if (zeros.dtype === 'i8') expectShape(zeros, WHERE, scales.shape);
  else {
    const words = PACKINGS.map((packing) => wordsPerRow(rows, settings.bits, packing));
    expectShape(zeros, WHERE, ...words.map((count) => [count, groups]));
  }
  return zeros;
}

function readZeros(zeros: PackedTensor, layer: CompressedLayer, rows: number, groups: number): ParameterTensor {
  if (zeros.dtype === 'i8') return zeros as PackedTensor<'i8'>;
  const { bits } = layer.settings;
  const width = zeros.shape[0] as number;
  const { bytes: data } = transposed(zeros as PackedTensor<'i32'>);
  const fits = PACKINGS.filter((packing) => wordsPerRow(rows, bits, packing) === width);
  const packing = packingOf(layer, fits, data, groups, rows);
  const codes = transposedCodes(unpackWordRows(data, bits, groups, rows, packing), groups, rows);
  return tensor(signed(codes, bits), [rows, groups]);
}

/** Takes `2^(bits-1)` away, in place. */
function signed(codes: Uint8Array, bits: number): Int8Array {
  const half = 2 ** (bits - 1);
  for (let i = 0; i < codes.length; i++) codes[i] = (codes[i] as number) - half;
  return new Int8Array(codes.buffer, codes.byteOffset, codes.length);
}

/** Where the width fits both packings, the right one is that whose bytes come out again; where both do, the preferred one. */
function packingOf(
  { settings: { bits }, packing: preferred }: CompressedLayer,
  fits: readonly WordPacking[],
  data: Uint8Array,
  rows: number,
  columns: number,
): WordPacking {
  const [first] = fits;
  if (fits.length === 1 || 32 % bits === 0) return first as WordPacking;
  const possible = fits.filter((packing) => {
    const again = packWordRows(unpackWordRows(data, bits, rows, columns, packing), bits, rows, columns, packing);
    return again.every((byte, i) => byte === data[i]);
  });
  return possible.length === 1 ? (possible[0] as WordPacking) : preferred;
}

/** compressed-tensors layers of integers: packed into words, or one a byte. */
import {
  type DType,
  type Granularity,
  type LazyQuantizedTensor,
  type LazyTensor,
  nativeData,
  type PackedTensor,
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
  const fitting = PACKINGS.filter((packing) => wordsPerRow(columns as number, bits, packing) === width);
  if (givenRows !== rows || columns === undefined || !(columns > 0) || fitting.length === 0) {
    const shapes = `[${givenRows}, ${columns}] does not fit weight_packed [${rows}, ${width}]`;
    return fail('FORMAT', `${module}.weight_shape ${shapes} of ${bits} bits`, { module, bits });
  }
  const { granularity, scales } = scalePart(layer, [rows, columns], SCALE_TYPES);
  const groups = granularity.type === 'group' ? (scales.shape[1] as number) : 1;
  const { zeros, packings } = symmetric
    ? { zeros: undefined, packings: fitting }
    : zeroPart(layer, scales, rows, groups, fitting);
  const indices = groupIndexPart(layer, columns);
  return storedWeight({
    layout: WHERE,
    name: `${module}.weight`,
    shape: [rows, columns],
    scheme: integerScheme(settings, granularity),
    parts: { words, scales, zeros, indices, shape: shapePart },
    decode(parts) {
      const lines: WordLines[] = [{ words: (parts.words as PackedTensor).bytes, count: rows, length: columns }];
      if (parts.zeros?.dtype === 'i32') {
        lines.push({ words: transposed(parts.zeros as PackedTensor<'i32'>).bytes, count: groups, length: rows });
      }
      const packing = packingOf(lines, bits, packings, layer.packing);
      const [codes, zeroCodes] = lines.map(({ words, count, length }) =>
        unpackWordRows(words, bits, count, length, packing),
      );
      const zeroPoints =
        zeroCodes === undefined
          ? (parts.zeros as PackedTensor<'i8'> | undefined)
          : tensor(signed(transposedCodes(zeroCodes, groups, rows), bits), [rows, groups]);
      const groupIndex = readGroupIndex(parts.indices, layer, columns, groups);
      return {
        kind: 'quantized',
        shape: [rows, columns],
        scheme: integerScheme(settings, granularity),
        parts: {
          codes: tensor(signed(codes as Uint8Array, bits), [rows, columns]),
          scales: parts.scales as PackedTensor<DType>,
          ...(zeroPoints === undefined ? {} : { zeros: zeroPoints }),
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

/**
 * Zero points of rows and groups are packed like codes, but along the output: `[words, groups]`; others are plain int8.
 * With them, the packings that fit both.
 */
function zeroPart(
  { checkpoint, module, settings: { bits, strategy } }: CompressedLayer,
  scales: LazyTensor,
  rows: number,
  groups: number,
  fitting: readonly WordPacking[],
): { zeros: LazyTensor; packings: readonly WordPacking[] } {
  const types = strategy === 'channel' || strategy === 'group' ? (['i32', 'i8'] as const) : (['i8'] as const);
  const zeros = needPart(checkpoint, `${module}.weight_zero_point`, types, WHERE);
  if (zeros.dtype === 'i8') {
    expectShape(zeros, WHERE, scales.shape);
    return { zeros, packings: fitting };
  }
  expectShape(zeros, WHERE, ...fitting.map((packing) => [wordsPerRow(rows, bits, packing), groups]));
  return { zeros, packings: fitting.filter((packing) => wordsPerRow(rows, bits, packing) === zeros.shape[0]) };
}

/** Takes `2^(bits-1)` away, in place. */
function signed(codes: Uint8Array, bits: number): Int8Array {
  const half = 2 ** (bits - 1);
  for (let i = 0; i < codes.length; i++) codes[i] = (codes[i] as number) - half;
  return new Int8Array(codes.buffer, codes.byteOffset, codes.length);
}

/** `count` lines of `length` codes. */
interface WordLines {
  readonly words: Uint8Array;
  readonly count: number;
  readonly length: number;
}

/** Where the widths fit both packings, the right one is that which gives the same bytes again; where both do, the preferred one. */
function packingOf(
  lines: readonly WordLines[],
  bits: number,
  packings: readonly WordPacking[],
  preferred: WordPacking,
): WordPacking {
  const [first] = packings;
  if (packings.length === 1 || 32 % bits === 0) return first as WordPacking;
  const possible = packings.filter((packing) =>
    lines.every(({ words, count, length }) => {
      const again = packWordRows(unpackWordRows(words, bits, count, length, packing), bits, count, length, packing);
      return again.every((byte, i) => byte === words[i]);
    }),
  );
  return possible.length === 1 ? (possible[0] as WordPacking) : preferred;
}

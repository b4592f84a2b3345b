import { ggmlDequantize, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { GGML_TYPES, type GgmlType, tensor } from '@halftone/tensor';
import {
  FP4_VALUES,
  ggmlCodebook,
  ggmlScaleCodebook,
  IQ4_NL_VALUES,
  type LatticeName,
  latticeVectors,
  NF4_VALUES,
} from '@halftone/tensor/codebooks';
import { GGML_SCALE_SCHEMES, GGML_SCHEMES, type GgmlSuperBlockType } from '@halftone/tensor/ggml';
import { describe, expect, it } from 'vitest';

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];
const LOOKUPS = TYPES.filter((type) => GGML_SCHEMES[type].grid.type === 'lookup');
const SCALE_LOOKUPS = (Object.keys(GGML_SCALE_SCHEMES) as GgmlSuperBlockType[]).filter(
  (type) => GGML_SCALE_SCHEMES[type].grid.type === 'lookup',
);

const LATTICES: readonly (readonly [LatticeName, entries: number, vectorLength: number, levels: readonly number[]])[] =
  [
    ['iq2_xxs', 256, 8, [8, 25, 43]],
    ['iq2_xs', 512, 8, [8, 25, 43]],
    ['iq2_s', 1024, 8, [8, 25, 43]],
    ['iq3_xxs', 256, 4, [4, 12, 20, 28, 36, 44, 52, 62]],
    ['iq3_s', 512, 4, [1, 3, 5, 7, 9, 11, 13, 15]],
    ['iq1', 2048, 8, [-1, 0, 1]],
  ];

/** Byte addresses and values in a block of zeros, whose super-scale is 1, for one code of the first vector and its scale. */
const FIELDS: Readonly<
  Record<string, (code: number, scale: number) => readonly (readonly [at: number, byte: number])[]>
> = {
  IQ1_S: (code, s) => [
    [1, 0x3c],
    [2, code & 255],
    [34, (code >> 8) & 7],
    [35, (s << 4) | ((code >> 11) << 7)],
  ],
  IQ1_M: (code, s) => [
    [53, 0xc0],
    [55, 0x30],
    [0, code & 255],
    [32, code >> 8],
    [48, s],
  ],
  IQ2_XXS: (code, s) => [
    [1, 0x3c],
    [2, code],
    [9, s << 4],
  ],
  IQ2_XS: (code, s) => [
    [1, 0x3c],
    [2, code & 255],
    [3, code >> 8],
    [66, s],
  ],
  IQ2_S: (code, s) => [
    [1, 0x3c],
    [2, code & 255],
    [66, code >> 8],
    [74, s],
  ],
  IQ3_XXS: (code, s) => [
    [1, 0x3c],
    [2, code],
    [69, s << 4],
  ],
  IQ3_S: (code, s) => [
    [1, 0x3c],
    [2, code & 255],
    [66, code >> 8],
    [106, s],
  ],
  IQ4_NL: (code) => [
    [1, 0x3c],
    [2, code],
  ],
  // The scale is 33 - 32.
  IQ4_XS: (code) => [
    [1, 0x3c],
    [2, 2],
    [4, 1],
    [8, code],
  ],
  TQ1_0: (code) => [
    [53, 0x3c],
    [0, Math.ceil((code * 256) / 3)],
  ],
  TQ2_0: (code) => [
    [65, 0x3c],
    [0, code],
  ],
  Q1_0: (code) => [
    [1, 0x3c],
    [2, code],
  ],
  Q2_0: (code) => [
    [1, 0x3c],
    [2, code],
  ],
};

/** The first vector of a block for each pair of a code and a scale, as ggml decodes it. */
function decodeFirstVectors(type: GgmlType, pairs: readonly (readonly [code: number, scale: number])[]): number[][] {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const { grid } = GGML_SCHEMES[type];
  const bytes = new Uint8Array(pairs.length * blockBytes);
  for (const [block, [code, scale]] of pairs.entries()) {
    for (const [at, byte] of FIELDS[type]!(code, scale)) bytes[block * blockBytes + at] = byte;
  }
  const values = ggmlDequantize(type, bytes, pairs.length * blockSize);
  const length = grid.type === 'lookup' ? grid.vectorLength : 1;
  return pairs.map((_, block) => [...values.subarray(block * blockSize, block * blockSize + length)]);
}

/** Each row times a factor. All products are exact in float32. */
function rows({ data, shape }: { data: Float32Array; shape: readonly number[] }, factor: number): number[][] {
  return Array.from({ length: shape[0]! }, (_, i) =>
    Array.from(data.subarray(i * shape[1]!, (i + 1) * shape[1]!), (value) => value * factor),
  );
}

const skipped = oracleAvailable() ? '' : ' (skipped: llama.cpp libraries not installed)';

describe.skipIf(!oracleAvailable())(`tables against ggml's decoder${skipped}`, () => {
  it.each(LOOKUPS)('%s: every vector', (type) => {
    const codebook = ggmlCodebook(type)!;
    const factor = ggmlScaleCodebook(type as GgmlSuperBlockType)?.data[0] ?? 1;
    const pairs = Array.from({ length: codebook.shape[0]! }, (_, code) => [code, 0] as const);
    expect(decodeFirstVectors(type, pairs)).toEqual(rows(codebook, factor));
  });

  it.each(SCALE_LOOKUPS)('%s: every scale', (type) => {
    const scales = ggmlScaleCodebook(type)!;
    const first = ggmlCodebook(type)!.data.slice(0, ggmlCodebook(type)!.shape[1]);
    const pairs = Array.from(scales.data, (_, scale) => [0, scale] as const);
    expect(decodeFirstVectors(type, pairs)).toEqual(
      Array.from(scales.data, (scale) => rows(tensor(first, [1, first.length]), scale)[0]),
    );
  });
});

describe('ggmlCodebook and ggmlScaleCodebook', () => {
  it.each(TYPES)('%s: tables as the schemes say', (type) => {
    const { grid } = GGML_SCHEMES[type];
    const codebook = ggmlCodebook(type);
    expect(codebook?.shape[1]).toBe(grid.type === 'lookup' ? grid.vectorLength : undefined);
    if (grid.type === 'lookup' && type !== 'TQ1_0') expect(codebook?.shape[0]).toBe(2 ** grid.bits);
    const scaleGrid = GGML_SCALE_SCHEMES[type as GgmlSuperBlockType]?.grid;
    const scales = ggmlScaleCodebook(type as GgmlSuperBlockType);
    expect(scales?.shape).toEqual(scaleGrid?.type === 'lookup' ? [2 ** scaleGrid.bits, 1] : undefined);
  });

  it('makes new tables at each call', () => {
    expect(ggmlCodebook('IQ2_S')?.data).not.toBe(ggmlCodebook('IQ2_S')?.data);
    expect(ggmlScaleCodebook('IQ2_S')?.data).not.toBe(ggmlScaleCodebook('IQ2_S')?.data);
  });
});

describe('latticeVectors', () => {
  it.each(LATTICES)('%s: %i different vectors of %i values', (name, entries, vectorLength, levels) => {
    const vectors = latticeVectors(name);
    expect(vectors.length).toBe(entries * vectorLength);
    expect(new Set(vectors)).toEqual(new Set(levels));
    const texts = rows(tensor(vectors, [entries, vectorLength]), 1).map(String);
    expect(new Set(texts).size).toBe(entries);
  });
});

describe('tables of 4 bits', () => {
  it('rise, where they are quantiles', () => {
    for (const values of [NF4_VALUES, IQ4_NL_VALUES]) {
      expect(values.length).toBe(16);
      expect([...values].sort((a, b) => a - b)).toEqual(values);
    }
    expect([NF4_VALUES[0], NF4_VALUES[7], NF4_VALUES[15]]).toEqual([-1, 0, 1]);
  });

  it('have a sign bit, where they are floats', () => {
    expect(FP4_VALUES.length).toBe(16);
    for (let code = 0; code < 8; code++) expect(FP4_VALUES[code + 8]).toBe(-FP4_VALUES[code]!);
    expect(Math.max(...FP4_VALUES)).toBe(1);
    for (const value of [...NF4_VALUES, ...FP4_VALUES]) expect(Math.fround(value)).toBe(value);
  });
});

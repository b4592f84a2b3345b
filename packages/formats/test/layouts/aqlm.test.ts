import { dequantize, encode, type PackedTensor, type QuantizedTensor, tensor } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aqlm } from '../../src/layouts.js';
import { expectFailure } from '../support/files.js';
import { layoutFile, openLayout, packedFile, readWeight } from '../support/layout-file.js';
import { comparable } from '../support/random-weight.js';
import { numbers } from '../support/sample-weights.js';

interface Sizes {
  readonly outGroups: number;
  readonly inGroups: number;
  readonly stages: number;
  readonly bits: number;
  readonly outGroup: number;
  readonly inGroup: number;
}

/** A layer as aqlm stores it, and its weight by the definition. */
function layer({ outGroups, inGroups, stages, bits, outGroup, inGroup }: Sizes) {
  const next = numbers(7 + bits);
  const entries = 2 ** bits;
  const codes = Array.from({ length: outGroups * inGroups * stages }, () => next(entries));
  const books = Array.from({ length: stages * entries * outGroup * inGroup }, () => (next(4001) - 2000) / 512);
  const scales = Array.from({ length: outGroups }, () => (1 + next(500)) / 1024);
  const signed = codes.map((code) => (code >= entries / 2 ? code - entries : code));
  const weight = new Float32Array(outGroups * outGroup * inGroups * inGroup);
  for (let row = 0; row < outGroups * outGroup; row++) {
    for (let column = 0; column < inGroups * inGroup; column++) {
      const [r, c] = [Math.floor(row / outGroup), Math.floor(column / inGroup)];
      let sum = 0;
      for (let stage = 0; stage < stages; stage++) {
        const code = codes[(r * inGroups + c) * stages + stage] as number;
        const place = ((stage * entries + code) * outGroup + (row % outGroup)) * inGroup + (column % inGroup);
        sum = Math.fround(sum + (books[place] as number));
      }
      weight[row * inGroups * inGroup + column] = sum * (scales[r] as number);
    }
  }
  const tensors = new Map<string, PackedTensor>([
    ['a.b.codes', encode(signed, bits > 8 ? 'i16' : 'i8', [outGroups, inGroups, stages])],
    ['a.b.codebooks', encode(books, 'f16', [stages, entries, outGroup, inGroup])],
    ['a.b.scales', encode(scales, 'f16', [outGroups, 1, 1, 1])],
  ]);
  return { tensors, weight };
}

const small: Sizes = { outGroups: 3, inGroups: 5, stages: 2, bits: 8, outGroup: 1, inGroup: 4 };

describe('aqlm layout', () => {
  it.each([
    [small],
    [{ ...small, stages: 1, bits: 16, inGroups: 2, inGroup: 8 }],
    [{ ...small, stages: 3, bits: 12 }],
    [{ ...small, bits: 4, inGroup: 1 }],
    [{ ...small, outGroup: 2 }],
    [{ ...small, outGroup: 3, bits: 9, stages: 1 }],
  ])('reads %j', async (sizes) => {
    const { tensors, weight } = layer(sizes);
    const file = await packedFile(new Map([...tensors, ['norm', encode([1], 'f32')]]));
    const checkpoint = await openLayout(aqlm, file);
    expect([...checkpoint.tensors.keys()]).toEqual(['norm']);
    const lazy = checkpoint.quantized?.get('a.b.weight');
    expect(lazy?.shape).toEqual([sizes.outGroups * sizes.outGroup, sizes.inGroups * sizes.inGroup]);
    expect(comparable(dequantize((await lazy?.read()) as QuantizedTensor))).toEqual(comparable(weight));
  });

  it('writes the tensors it read, byte for byte', async () => {
    for (const sizes of [small, { ...small, stages: 1, bits: 9, inGroup: 8 }]) {
      const { tensors } = layer(sizes);
      const weight = await readWeight(aqlm, await packedFile(tensors));
      const split = aqlm.writer?.split('a.b.weight', weight);
      expect(comparable(split?.tensors)).toEqual(comparable(tensors));
      const expected = {
        nbits_per_codebook: sizes.bits,
        num_codebooks: sizes.stages,
        in_group_size: sizes.inGroup,
        out_group_size: 1,
      };
      expect(split?.settings).toEqual(expected);
      expect(aqlm.writer?.config(new Map([['a.b.weight', expected]]), ['x.weight'])).toEqual({
        quantization_config: {
          quant_method: 'aqlm',
          ...expected,
          linear_weights_not_to_quantize: ['x.weight', 'lm_head.weight'],
        },
      });
    }
  });

  it('round-trips lookup weights to the same floats', async () => {
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const [rows, vectors, length, stages] = [1, 2, 3, 4].map(() => g(fc.integer, { min: 1, max: 4 })) as [
          number,
          number,
          number,
          number,
        ];
        const bits = g(fc.constantFrom, 1, 5, 8, 10);
        const entries = g(fc.integer, { min: 1, max: 2 ** bits });
        const codes = g(fc.array<number>, fc.nat(entries - 1), {
          minLength: stages * rows * vectors,
          maxLength: stages * rows * vectors,
        });
        const float = fc.float({ noNaN: false });
        const values = g(fc.array<number>, float, { minLength: 5, maxLength: 5 });
        const codebook = Float32Array.from({ length: stages * entries * length }, (_, i) => values[i % 5] as number);
        const weight: QuantizedTensor = {
          kind: 'quantized',
          shape: [rows, vectors * length],
          scheme: {
            name: 'lookup',
            version: 1,
            grid: { type: 'lookup', bits, vectorLength: length, stages },
            granularity: g(fc.constantFrom, { type: 'tensor' } as const, { type: 'axis', axis: 0 } as const),
          },
          parts: {
            codes: tensor(Uint16Array.from(codes), stages > 1 ? [stages, rows, vectors] : [rows, vectors]),
            codebook: tensor(codebook, [stages * entries, length]),
            ...(g(fc.boolean) ? { globalScale: g(fc.constantFrom, 0.5, 3, 1e-3) } : {}),
          },
        };
        const { file, config } = await layoutFile(aqlm, new Map([['x.weight', weight]]));
        const read = dequantize(await readWeight(aqlm, file, config));
        const expected = dequantize(weight);
        expect(read.every((value, i) => Object.is(value, expected[i]))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses what it cannot hold', async () => {
    const { tensors } = layer(small);
    const weight = await readWeight(aqlm, await packedFile(tensors));
    const split = (changes: Partial<QuantizedTensor>) => aqlm.writer?.split('a.weight', { ...weight, ...changes });
    const { scheme, parts } = weight;
    const affine = { type: 'affine', bits: 8, signed: false, symmetric: true } as const;
    await expectFailure(() => split({ scheme: { ...scheme, grid: affine } }), 'UNSUPPORTED', 'codebook');
    const group = { type: 'group', axis: 1, size: 4 } as const;
    await expectFailure(() => split({ scheme: { ...scheme, granularity: group } }), 'UNSUPPORTED', 'each row');
    await expectFailure(
      () => split({ parts: { ...parts, channelScale: new Float32Array(20) } }),
      'UNSUPPORTED',
      'channelScale',
    );
    await expectFailure(() => split({ scheme: { ...scheme, input: [{ type: 'hadamard' }] } }), 'UNSUPPORTED', 'input');
    const book = tensor(new Float32Array(800), [200, 4]);
    await expectFailure(() => split({ parts: { ...parts, codebook: book } }), 'RANGE', 'code');
    await expectFailure(() => aqlm.writer?.split('no suffix', weight), 'UNSUPPORTED', '.weight');
    const mixed = new Map([
      ['a.weight', { nbits_per_codebook: 8 }],
      ['b.weight', { nbits_per_codebook: 16 }],
    ]);
    await expectFailure(() => aqlm.writer?.config(mixed, []), 'UNSUPPORTED', 'nbits_per_codebook');
  });

  it.each([
    ['a.b.codes', encode([1, 2], 'i8'), 'shape'],
    ['a.b.codes', encode([1, 2], 'i32', [1, 1, 2]), 'i32'],
    ['a.b.scales', encode([1], 'f16', [1, 1, 1, 1]), 'scales'],
    ['a.b.codebooks', encode(new Float32Array(2 * 255 * 4), 'f16', [2, 255, 1, 4]), 'codebooks'],
    ['a.b.codebooks', encode(new Float32Array(256 * 4), 'f16', [1, 256, 1, 4]), 'codebooks'],
    ['a.b.codebooks', encode([], 'f16', [2, 256, 0, 4]), 'codebooks'],
    ['a.b.scales', undefined, 'no such tensor'],
  ])('refuses files whose %s does not fit', async (name, replaced, word) => {
    const { tensors } = layer(small);
    if (replaced === undefined) tensors.delete(name);
    else tensors.set(name, replaced);
    await expectFailure(async () => readWeight(aqlm, await packedFile(tensors)), 'FORMAT', word);
  });

  it('refuses codebooks whose vectors of several rows need more than 16 bits', async () => {
    const { tensors } = layer({ ...small, outGroups: 1, inGroups: 1, stages: 1, bits: 16, outGroup: 2, inGroup: 1 });
    await expectFailure(async () => readWeight(aqlm, await packedFile(tensors)), 'UNSUPPORTED', 'too many codes');
  });
});

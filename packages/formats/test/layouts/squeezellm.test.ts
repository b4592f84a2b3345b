import { dequantize, encode, type PackedTensor, packed, type QuantizedTensor, tensor } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { squeezellm } from '../../src/layouts.js';
import { bitStream } from '../support/bit-stream.js';
import { expectFailure } from '../support/files.js';
import { layoutFile, openLayout, packedFile, readWeight } from '../support/layout-file.js';
import { comparable } from '../support/random-weight.js';
import { numbers } from '../support/sample-weights.js';

const layout = squeezellm();

/** A layer as SqueezeLLM stores it, and its weight by the definition. */
function layer(bits: number, rows: number, columns: number, outliers = false, fullRows: readonly number[] = []) {
  const next = numbers(3 + bits);
  const table = Array.from({ length: rows * 2 ** bits }, () => (next(4001) - 2000) / 512);
  const codes = Array.from({ length: rows * columns }, () => next(2 ** bits));
  const weight = Float32Array.from(codes, (code, i) => table[Math.floor(i / columns) * 2 ** bits + code] as number);
  const words = (columns * bits) / 32;
  const qweight = new Uint32Array(words * rows);
  for (let row = 0; row < rows; row++) {
    const line = codes.slice(row * columns, (row + 1) * columns);
    const stream = new Uint32Array(bitStream(line.map((code) => [code, bits] as const)).buffer);
    // Words run down, rows of the weight run across.
    for (const [i, word] of stream.entries()) qweight[i * rows + row] = word;
  }
  const tensors = new Map<string, PackedTensor>([
    ['x.qweight', packed('i32', [words, rows], new Uint8Array(qweight.buffer))],
    ['x.lookup_table', encode(table, 'f16', [rows, 2 ** bits])],
  ]);
  const add = (row: number, column: number, value: number) => {
    weight[row * columns + column] = (weight[row * columns + column] as number) + value;
  };
  if (outliers) {
    const [pointers, cols, vals] = [[0], [] as number[], [] as number[]];
    for (let row = 0; row < rows; row++) {
      for (let column = row % 3; column < columns; column += 9 + row) {
        cols.push(column);
        vals.push(row - 0.25);
        add(row, column, row - 0.25);
      }
      pointers.push(cols.length);
    }
    tensors.set('x.rows', encode(pointers, 'i32'));
    tensors.set('x.cols', encode(cols, 'i32'));
    tensors.set('x.vals', encode(vals, 'f32'));
    tensors.set('x.startrows', encode([0, 1], 'i32'));
  }
  if (fullRows.length > 0) {
    const full = Array.from({ length: columns * fullRows.length }, (_, i) => i % 5);
    for (const [k, row] of fullRows.entries()) {
      for (let column = 0; column < columns; column++) add(row, column, full[column * fullRows.length + k] as number);
    }
    tensors.set('x.full_rows', encode(full, 'f32', [columns, fullRows.length]));
    tensors.set('x.full_row_indices', encode(fullRows, 'i32'));
  }
  return { tensors, weight };
}

describe('squeezellm layout', () => {
  it.each([
    [3, 5, 64, false, []],
    [4, 5, 64, true, []],
    [4, 300, 32, false, []],
    [3, 4, 32, true, [2, 0]],
    [4, 4, 32, false, [3]],
    [2, 3, 32, false, []],
    // 80,000 values: two stages.
    [4, 5000, 32, false, []],
  ] as const)('reads %i bits of [%i, %i], outliers %s, full rows %j', async (bits, rows, columns, outliers, full) => {
    const { tensors, weight } = layer(bits, rows, columns, outliers, full);
    const checkpoint = await openLayout(layout, await packedFile(tensors));
    expect(checkpoint.tensors.size).toBe(0);
    const lazy = checkpoint.quantized?.get('x.weight');
    expect(lazy?.shape).toEqual([rows, columns]);
    expect(comparable(dequantize((await lazy?.read()) as QuantizedTensor))).toEqual(comparable(weight));
  });

  it('writes words as SqueezeLLM packs them', () => {
    const affine = { type: 'affine', bits: 3, signed: false, symmetric: true } as const;
    const codes = Uint8Array.from({ length: 32 }, (_, i) => i % 8);
    const weight: QuantizedTensor = {
      kind: 'quantized',
      shape: [1, 32],
      scheme: { name: 'affine', version: 1, grid: affine, granularity: { type: 'tensor' } },
      parts: { codes: tensor(codes, [1, 32]), scales: tensor(Float32Array.of(0.5), []) },
    };
    const split = squeezellm({ bits: 3 }).writer?.split('x.weight', weight);
    expect(split?.settings).toEqual({ wbits: 3 });
    // Codes 0 .. 7 four times over three words: code 10 and code 21 lie across them.
    const words = new Uint32Array(3);
    for (const [i, code] of codes.entries()) {
      for (let bit = 0; bit < 3; bit++) {
        const at = 3 * i + bit;
        words[at >> 5] = ((words[at >> 5] as number) | (((code >> bit) & 1) << (at & 31))) >>> 0;
      }
    }
    expect(split?.tensors.get('x.qweight')).toEqual(packed('i32', [3, 1], new Uint8Array(words.buffer)));
    expect(split?.tensors.get('x.lookup_table')).toEqual(encode([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], 'f16', [1, 8]));
    const mixed = new Map([
      ['a', { wbits: 3 }],
      ['b', { wbits: 4 }],
    ]);
    expect(() => layout.writer?.config(mixed, [])).toThrow('wbits');
  });

  it('round-trips weights with few values a row to the same floats', async () => {
    const special = [0, -0, Number.NaN, Infinity, -Infinity, 1e-45, 1, -1];
    await fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const rows = g(fc.integer, { min: 1, max: 4 });
        const columns = 32 * g(fc.integer, { min: 1, max: 2 });
        const codes = g(fc.uint8Array, { minLength: rows * columns, maxLength: rows * columns, max: 15 });
        const book = Float32Array.from(
          g(fc.array<number>, fc.oneof(fc.constantFrom(...special), fc.float()), { minLength: 16, maxLength: 16 }),
        );
        const values = Float32Array.of(g(fc.float), 2);
        const weight: QuantizedTensor = {
          kind: 'quantized',
          shape: [rows, columns],
          scheme: {
            name: 'lookup',
            version: 1,
            grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 },
            granularity: { type: 'axis', axis: 0 },
          },
          parts: {
            codes: tensor(codes, [rows, columns]),
            codebook: tensor(book, [16]),
            scales: tensor(
              Float32Array.from({ length: rows }, (_, row) => row - 1.5),
              [rows],
            ),
            ...(g(fc.boolean)
              ? {
                  outliers: {
                    shape: [rows, columns] as const,
                    rowPointers: Uint32Array.from({ length: rows + 1 }, (_, row) => (row === 0 ? 0 : 2)),
                    columns: Uint32Array.of(1, 30),
                    values,
                  },
                }
              : {}),
          },
        };
        const { file, config } = await layoutFile(layout, new Map([['x.weight', weight]]));
        const read = dequantize(await readWeight(layout, file, config));
        const expected = dequantize(weight);
        expect(read.every((value, i) => Object.is(value, expected[i]))).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses what it cannot hold', async () => {
    const grid = { type: 'affine', bits: 8, signed: false, symmetric: true } as const;
    const weight: QuantizedTensor = {
      kind: 'quantized',
      shape: [1, 32],
      scheme: { name: 'affine', version: 1, grid, granularity: { type: 'tensor' } },
      parts: {
        codes: tensor(
          Uint8Array.from({ length: 32 }, (_, i) => i % 17),
          [1, 32],
        ),
      },
    };
    const split = (changes: Partial<QuantizedTensor>) => layout.writer?.split('x.weight', { ...weight, ...changes });
    await expectFailure(() => split({}), 'UNSUPPORTED', 'over 16 values');
    await expectFailure(() => split({ shape: [2, 16] }), 'UNSUPPORTED', '32 columns');
    const factor = tensor(new Float32Array(1), [1, 1]);
    const lowRank = { left: factor, right: tensor(new Float32Array(32), [1, 32]) };
    await expectFailure(() => split({ parts: { ...weight.parts, lowRank } }), 'UNSUPPORTED', 'lowRank');
    await expectFailure(() => split({ scheme: { ...weight.scheme, input: [{ type: 'x' }] } }), 'UNSUPPORTED', 'input');
  });

  it.each([
    ['x.lookup_table', encode(new Float32Array(5 * 16), 'f16', [16, 5]), 'FORMAT', 'table'],
    ['x.lookup_table', encode(new Float32Array(4 * 16), 'f16', [4, 16]), 'FORMAT', 'lookup_table'],
    ['x.qweight', encode(new Float32Array(8), 'f32', [8, 1]), 'FORMAT', 'f32'],
    ['x.qweight', encode([], 'i32', [0, 5]), 'FORMAT', 'no elements'],
    ['x.rows', encode([0, 1, 2], 'i32'), 'FORMAT', 'rows'],
    ['x.rows', encode([0, 9, 3, 4, 5, 6], 'i32'), 'RANGE', 'rowPointers'],
    ['x.cols', encode([-1], 'i32'), 'FORMAT', 'vals'],
    ['x.vals', undefined, 'FORMAT', 'vals'],
  ])('refuses files whose %s does not fit', async (name, replaced, code, word) => {
    const { tensors } = layer(4, 5, 64, true);
    if (replaced === undefined) tensors.delete(name);
    else tensors.set(name, replaced);
    await expectFailure(async () => readWeight(layout, await packedFile(tensors)), code, word);
  });

  it('refuses outliers outside the weight', async () => {
    const { tensors } = layer(4, 5, 64, true, [1]);
    const negative = (tensors.get('x.cols') as PackedTensor).bytes.slice().fill(255);
    const cols = { ...(tensors.get('x.cols') as PackedTensor), bytes: negative };
    await expectFailure(
      async () => readWeight(layout, await packedFile(new Map(tensors).set('x.cols', cols))),
      'RANGE',
      'columns',
    );
    tensors.set('x.full_row_indices', encode([5], 'i32'));
    await expectFailure(async () => readWeight(layout, await packedFile(tensors)), 'RANGE', 'full_row_indices');
  });

  it('refuses tables of too many rows', async () => {
    const zeros = (dtype: 'f16' | 'i32', shape: number[], size: number) => packed(dtype, shape, new Uint8Array(size));
    const tensors = new Map<string, PackedTensor>([
      ['x.qweight', zeros('i32', [4, 70_000], 16 * 70_000)],
      ['x.lookup_table', zeros('f16', [70_000, 16], 32 * 70_000)],
    ]);
    await expectFailure(async () => readWeight(layout, await packedFile(tensors)), 'UNSUPPORTED', 'stages');
  });
});

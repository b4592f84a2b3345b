import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggufListing, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { describe, expect, it } from 'vitest';
import {
  type GgufMetadataEntry,
  gguf,
  type Imatrix,
  type ImatrixEntry,
  imatrixFromStatistics,
  imatrixMeans,
  imatrixStatistics,
  memorySink,
  readImatrix,
  writeGguf,
  writeImatrixDat,
  writeImatrixGguf,
} from '../src/index.js';
import { expectFailure, ggufFile, memory } from './support/files.js';

/** A .dat file by the letter of the format: numbers are i32, strings have their length before them. */
function dat(...parts: (number | string | Float32Array)[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'object') return Buffer.concat([...part].map(float));
      return typeof part === 'number' ? int(part) : Buffer.concat([int(Buffer.byteLength(part)), Buffer.from(part)]);
    }),
  );
}
const int = (value: number) => Buffer.from(Int32Array.of(value).buffer);
const float = (value: number) => Buffer.from(Float32Array.of(value).buffer);

const entry = (sums: number[], counts: number[], inputSums?: number[]): ImatrixEntry => ({
  sums: Float32Array.from(sums),
  counts: Float64Array.from(counts),
  inputSums: inputSums && Float32Array.from(inputSums),
});

async function written(write: typeof writeImatrixDat, imatrix: Imatrix): Promise<Uint8Array> {
  const sink = memorySink();
  await write(sink, imatrix);
  return sink.bytes();
}

const Q = 'blk.0.attn_q.weight';
const EXPERTS = 'blk.1.ffn_down_exps.weight';

describe('importance matrices', () => {
  it('are read from .dat files, with and without what newer ones end with', async () => {
    const body = [2, Q, 4, 3, Float32Array.of(4, 8, 1e-40), 'output.weight', 0, 1, Float32Array.of(0.5)] as const;
    const ends: [(number | string)[], Partial<Imatrix>][] = [
      [[], { datasets: [] }],
      [[7], { datasets: [], chunkCount: 7 }],
      [[7, ''], { datasets: [], chunkCount: 7 }],
      [[7, 'wiki Ü.txt'], { datasets: ['wiki Ü.txt'], chunkCount: 7 }],
    ];
    for (const [end, about] of ends) {
      const imatrix = await readImatrix(memory(dat(...body, ...end)));
      expect(imatrix).toMatchObject(about);
      expect(imatrix.chunkCount).toBe(about.chunkCount);
      expect([...imatrix.entries.keys()]).toEqual([Q, 'output.weight']);
      // Values are means times calls; without calls they are means.
      expect(imatrixMeans(imatrix.entries.get(Q) as ImatrixEntry)).toEqual(
        Float32Array.of(1, 2, Math.fround(1e-40) / 4),
      );
      expect(imatrixMeans(imatrix.entries.get('output.weight') as ImatrixEntry)).toEqual(Float32Array.of(0.5));
    }
  });

  it('survive GGUF exactly, experts and sums of inputs included', async () => {
    const imatrix: Imatrix = {
      datasets: ['a.txt', 'ß'],
      chunkCount: 3,
      chunkSize: 512,
      entries: new Map([
        [Q, entry([1.1, 0, 3e38], [1536])],
        [EXPERTS, entry([1, 2, 3, 4, 5, 6], [10, 0, 7], [-1, 0, 1, 2, 3, 4])],
      ]),
    };
    const bytes = await written(writeImatrixGguf, imatrix);
    expect(await readImatrix(memory(bytes))).toEqual(imatrix);
    const file = await gguf.open(memory(bytes));
    expect([...file.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      [`${Q}.in_sum2`, 'f32', [1, 3]],
      [`${Q}.counts`, 'f32', [1, 1]],
      [`${EXPERTS}.in_sum2`, 'f32', [3, 2]],
      [`${EXPERTS}.counts`, 'f32', [3, 1]],
      [`${EXPERTS}.in_sum`, 'f32', [3, 2]],
    ]);
    // An expert that never ran has means of one, as in llama-quantize.
    expect([...imatrixMeans(imatrix.entries.get(EXPERTS) as ImatrixEntry)]).toEqual(
      [0.1, 0.2, 1, 1, 5 / 7, 6 / 7].map(Math.fround),
    );
  });

  it.skipIf(!oracleAvailable())('in GGUF are opened by ggml (skipped where its library is absent)', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'halftone-imatrix-'));
    try {
      const path = join(folder, 'imatrix.gguf');
      const entries = new Map([[EXPERTS, entry([1, 2, 3, 4, 5, 6], [10, 0, 7])]]);
      await writeFile(path, await written(writeImatrixGguf, { datasets: ['a'], chunkCount: 2, chunkSize: 8, entries }));
      const listing = await ggufListing(path);
      expect(listing.keys).toEqual([
        { key: 'general.type', type: 'str', value: 'imatrix' },
        { key: 'imatrix.datasets', type: 'str[]', value: ['a'] },
        { key: 'imatrix.chunk_count', type: 'u32', value: 2 },
        { key: 'imatrix.chunk_size', type: 'u32', value: 8 },
      ]);
      expect(listing.tensors.map(({ name, ne }) => [name, ne])).toEqual([
        [`${EXPERTS}.in_sum2`, [2, 3, 1, 1]],
        [`${EXPERTS}.counts`, [1, 3, 1, 1]],
      ]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('keep their means from .dat to GGUF and back', async () => {
    const first = dat(1, Q, 3, 2, Float32Array.of(0.1, 7), 3, 'text');
    const imatrix = await readImatrix(memory(first));
    const asGguf = await written(writeImatrixGguf, imatrix);
    const again = await readImatrix(memory(asGguf));
    expect(again).toEqual({ ...imatrix, chunkSize: 1 });
    expect(Buffer.from(await written(writeImatrixDat, again))).toEqual(first);
  });

  it('in .dat count chunks where that is exact, else tokens', async () => {
    const write = (sums: number[], count: number, chunkSize?: number) =>
      written(writeImatrixDat, {
        datasets: [],
        chunkCount: 2,
        chunkSize,
        entries: new Map([[Q, entry(sums, [count])]]),
      });
    const file = (calls: number, ...values: number[]) =>
      dat(1, Q, calls, values.length, Float32Array.from(values), 2, '');
    expect(Buffer.from(await write([0.1, 8], 1024, 512))).toEqual(file(2, Math.fround(0.1) / 512, 1 / 64));
    expect(Buffer.from(await write([0.1, 8], 1000, 512))).toEqual(file(1000, 0.1, 8));
    expect(Buffer.from(await write([0.1, 8], 900, 300))).toEqual(file(900, 0.1, 8));
    // A subnormal number would lose bits.
    expect(Buffer.from(await write([2e-45, 8], 1024, 512))).toEqual(file(1024, 2e-45, 8));
  });

  it('are not written as .dat where that loses something', async () => {
    const refuse = (imatrix: Partial<Imatrix>, ...words: string[]) =>
      expectFailure(
        () =>
          written(writeImatrixDat, {
            datasets: [],
            chunkCount: 1,
            entries: new Map([[Q, entry([1], [1])]]),
            ...imatrix,
          }),
        'UNSUPPORTED',
        ...words,
      );
    await refuse({ datasets: ['a', 'b'] }, 'one data set');
    await refuse({ entries: new Map() }, 'without entries');
    await refuse({ entries: new Map([[EXPERTS, entry([1, 2], [1, 2])]]) }, 'experts');
    await refuse({ entries: new Map([[Q, entry([1, 2], [0])]]) }, 'experts');
    await refuse({ entries: new Map([[Q, entry([1], [1], [1])]]) }, 'sums of inputs');
    await refuse({ entries: new Map([[Q, entry([1], [2 ** 31])]]) }, '2147483648');
    await expectFailure(
      () => written(writeImatrixGguf, { datasets: [], entries: new Map([[Q, entry([1], [2 ** 24 + 1])]]) }),
      'UNSUPPORTED',
      'float32',
    );
  });

  it('with numbers that no measurement gives are refused, read or written', async () => {
    for (const [bad, word] of [
      [entry([Number.NaN], [1]), 'sum 0 is NaN'],
      [entry([-1], [1]), 'sum 0 is -1'],
      [entry([Number.POSITIVE_INFINITY], [1]), 'Infinity'],
      [entry([1], [0.5]), '0.5'],
      [entry([1], [-1]), '-1'],
      [entry([1, 2, 3], [1, 2]), 'divide'],
      [entry([], [1]), 'empty'],
      [entry([1], [1], [1, 2]), '2 sums of inputs'],
      [entry([1], [1], [Number.NaN]), 'NaN'],
    ] as const) {
      for (const write of [writeImatrixDat, writeImatrixGguf]) {
        const sink = memorySink();
        await expectFailure(() => write(sink, { datasets: [], entries: new Map([[Q, bad]]) }), 'FORMAT', Q, word);
      }
    }
    await expectFailure(() => readImatrix(memory(dat(1, Q, 1, 1, Float32Array.of(Number.NaN)))), 'FORMAT', Q, 'NaN');
  });

  const bad: [string, Uint8Array, ...string[]][] = [
    ['an empty file', new Uint8Array(0), 'number of entries'],
    ['no entries', dat(0, 'x'), '0 entries'],
    ['a negative number of entries', dat(-1, Q), '-1 entries'],
    ['more entries than bytes', dat(1_000_000, Q, 1, 1, Float32Array.of(1)), '1000000'],
    ['a negative name length', dat(1, -5, 1, 1, 1, 1), 'name'],
    ['a name longer than the file', dat(1, 4000, 1, 1, 1, 1), 'name', '4000'],
    ['a name longer than any', dat(1, 1 << 30, 1, 1, 1, 1), 'name'],
    ['a name that is not UTF-8', dat(1, 4, -1, 1, 1, 1), 'UTF-8'],
    ['no values', dat(1, Q, 1, 0, 1), Q, '0 values'],
    ['a negative number of values', dat(1, Q, 1, -4, 1), Q],
    ['more values than bytes', dat(1, Q, 1, 1 << 30, Float32Array.of(1)), Q, 'cut off'],
    ['duplicate names', dat(2, Q, 1, 1, Float32Array.of(1), Q, 1, 1, Float32Array.of(1)), Q, 'two entries'],
    ['negative chunks', dat(1, Q, 1, 1, Float32Array.of(1), -1), '-1 chunks'],
    ['bytes behind the end', dat(1, Q, 1, 1, Float32Array.of(1), 1, 'text', 9), '4 bytes follow'],
  ];
  it.each(bad)('as .dat with %s are refused', async (_what, file, ...words) => {
    await expectFailure(() => readImatrix(memory(file)), 'FORMAT', ...words);
  });

  it('in GGUF that lack something are refused', async () => {
    const imatrixType = { key: 'general.type', type: 'string', value: 'imatrix' } as const;
    const f32 = (name: string, ...shape: number[]) => ({ name, dtype: 'f32', shape }) as const;
    const refuse = async (file: Promise<Uint8Array>, ...words: string[]) =>
      expectFailure(async () => readImatrix(memory(await file)), 'FORMAT', ...words);
    await refuse(ggufFile([f32('w', 1)]), 'no importance matrix');
    await refuse(ggufFile([f32('w', 1)], [{ ...imatrixType, value: 'model' }]), 'model');
    await refuse(ggufFile([f32('w.in_sum2', 1)], [imatrixType]), 'w.counts');
    await refuse(ggufFile([f32('w.counts', 1)], [imatrixType]), 'w.in_sum2');
    await refuse(
      ggufFile([{ name: 'w.in_sum2', dtype: 'f16', shape: [1] }, f32('w.counts', 1)], [imatrixType]),
      'w.in_sum2',
      'f16',
    );
    // Zeros are importances as good as any.
    const zeros = async (...metadata: GgufMetadataEntry[]) => {
      const sink = memorySink();
      const tensors = [f32('w.in_sum2', 2), f32('w.counts', 1)];
      await writeGguf(sink, tensors, { metadata, data: ({ byteLength }) => new Uint8Array(byteLength) });
      return sink.bytes();
    };
    expect((await readImatrix(memory(await zeros()))).entries.size).toBe(1);
    await refuse(zeros({ key: 'imatrix.chunk_size', type: 'i32', value: 1 }), 'imatrix.chunk_size');
    await refuse(zeros({ key: 'imatrix.datasets', type: 'string', value: 'a' }), 'imatrix.datasets');
  });

  it('become statistics of Hugging Face weights, and statistics become them', async () => {
    const imatrix: Imatrix = {
      datasets: ['t'],
      chunkCount: 1,
      chunkSize: 4,
      entries: new Map([
        [Q, entry([2, 8], [4])],
        ['output.weight', entry([1], [4])],
      ]),
    };
    const statistics = imatrixStatistics(imatrix, 'llama');
    expect([...statistics]).toEqual([
      ['model.layers.0.self_attn.q_proj.weight', { tokens: 4, inputSquares: Float64Array.of(0.5, 2) }],
      ['lm_head.weight', { tokens: 4, inputSquares: Float64Array.of(0.25) }],
    ]);
    const { entries, ...about } = imatrix;
    const back = imatrixFromStatistics(statistics, 'llama', about);
    expect(back.datasets).toEqual(['t']);
    for (const [name, { sums, counts }] of entries) expect(back.entries.get(name)).toEqual({ sums, counts });
    const foreign = (name: string, item: ImatrixEntry): Imatrix => ({ datasets: [], entries: new Map([[name, item]]) });
    await expectFailure(
      () => imatrixStatistics(foreign('x.weight', entry([1], [1])), 'llama'),
      'UNSUPPORTED',
      'x.weight',
    );
    await expectFailure(
      () => imatrixStatistics(foreign(Q, entry([1, 2], [1, 2])), 'llama'),
      'UNSUPPORTED',
      '2 experts',
    );
    for (const [name, squares] of [
      ['x.weight', Float64Array.of(1)],
      ['lm_head.weight', undefined],
    ] as const) {
      const given = new Map([[name, { tokens: 1, inputSquares: squares }]]);
      await expectFailure(() => imatrixFromStatistics(given, 'llama', { datasets: [] }), 'UNSUPPORTED', name);
    }
  });
});

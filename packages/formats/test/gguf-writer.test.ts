import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DType, MetadataValue, TensorEntry } from '@halftone/tensor';
import { gguf as peer } from '@huggingface/gguf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createGgufWriter,
  type GgufMetadataEntry,
  type GgufScalarType,
  gguf,
  ggufLayout,
  ggufSplitNames,
  isGgufCheckpoint,
  joinGgufSplits,
  memorySink,
  planGgufSplits,
  safetensors,
  writeGgufSplits,
} from '../src/index.js';
import { openCheckpointPath } from '../src/node.js';
import { entryBytes, expectFailure, ggufFile, memory, safetensorsFile } from './support/files.js';
import { GGUF_TYPES } from './support/gguf-types.js';

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !/\p{Surrogate}/u.test(value));
const scalars: Record<GgufScalarType, fc.Arbitrary<string | number | bigint | boolean>> = {
  u8: fc.integer({ min: 0, max: 255 }),
  i8: fc.integer({ min: -128, max: 127 }),
  u16: fc.integer({ min: 0, max: 65535 }),
  i16: fc.integer({ min: -32768, max: 32767 }),
  u32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  i32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  f32: fc.float(),
  f64: fc.double(),
  bool: fc.boolean(),
  string: text,
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
};
const value = fc.constantFrom(...(Object.keys(scalars) as GgufScalarType[])).chain((type) =>
  fc.oneof(
    scalars[type].map((item) => ({ type, value: item as MetadataValue })),
    fc
      .array(scalars[type], { maxLength: 6 })
      .map((items) => ({ type: `${type}[]` as const, value: items as MetadataValue })),
  ),
);
const metadata = fc
  .uniqueArray(
    fc.tuple(
      text.filter((key) => key !== '' && key !== 'general.alignment'),
      value,
    ),
    {
      selector: ([key]) => key,
      maxLength: 8,
    },
  )
  .map((pairs) => pairs.map(([key, entry]): GgufMetadataEntry => ({ key, ...entry })));
const tensors = fc.uniqueArray(
  fc
    .record({
      name: text.filter((name) => new TextEncoder().encode(name).length <= 63),
      type: fc.constantFrom(...GGUF_TYPES),
      outer: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
      blocks: fc.integer({ min: 1, max: 3 }),
    })
    .map(
      ({ name, type: [dtype, block], outer, blocks }): TensorEntry => ({
        name,
        dtype,
        shape: [...outer, blocks * block],
      }),
    ),
  { selector: ({ name }) => name, maxLength: 6 },
);

const plain = (item: unknown): unknown =>
  typeof item === 'object'
    ? Array.from(item as ArrayLike<unknown>, plain)
    : typeof item === 'bigint'
      ? item.toString()
      : String(item === 0 ? 0 : item);

describe('GGUF writer', () => {
  it('writes what the reader reads, and rewriting gives the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        metadata,
        tensors,
        fc.constantFrom(undefined, 1, 8, 64, 4096),
        async (entries, list, alignment) => {
          const file = await ggufFile(list, entries, alignment);
          const checkpoint = await gguf.open(memory(file));
          expect(checkpoint.alignment).toBe(alignment ?? 32);
          for (const { key, type, value: wanted } of entries) {
            const got = checkpoint.ggufMetadata.get(key);
            expect(got?.type).toBe(type);
            expect(plain(got?.value)).toEqual(plain(wanted));
          }
          expect([...checkpoint.tensors.keys()]).toEqual(list.map(({ name }) => name));
          for (const entry of list) {
            const tensor = checkpoint.tensors.get(entry.name);
            expect(tensor).toMatchObject({ dtype: entry.dtype, shape: entry.shape });
            expect((await tensor?.read())?.bytes).toEqual(entryBytes(entry));
          }
          const again = [...checkpoint.ggufMetadata].map(([key, entry]) => ({ key, ...entry }));
          expect(await ggufFile(list, again)).toEqual(file);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('keeps strings that are not UTF-8', async () => {
    const rawStrings = new Map([[1, Uint8Array.of(0xff, 0xfe)]]);
    const entries: GgufMetadataEntry[] = [
      { key: 'tokens', type: 'string[]', value: ['a', '?', 'c'], rawStrings },
      { key: 'name', type: 'string', value: '?', rawStrings: new Map([[0, Uint8Array.of(0xc3)]]) },
    ];
    const file = await ggufFile([], entries);
    const { ggufMetadata } = await gguf.open(memory(file));
    expect(ggufMetadata.get('tokens')?.value).toEqual(['a', '\ufffd\ufffd', 'c']);
    expect(
      await ggufFile(
        [],
        [...ggufMetadata].map(([key, entry]) => ({ key, ...entry })),
      ),
    ).toEqual(file);
  });

  it('gives numbers for 64-bit scalars where they are exact, typed arrays for numeric arrays', async () => {
    const file = await ggufFile(
      [],
      [
        { key: 'small', type: 'u64', value: 7n },
        { key: 'large', type: 'u64', value: 2n ** 60n },
        { key: 'list', type: 'i64[]', value: [1, -2n] },
        { key: 'ints', type: 'i32[]', value: [1, -2] },
        { key: 'flags', type: 'bool[]', value: [true, false] },
      ],
    );
    const opened = await gguf.open(memory(file));
    expect(opened.metadata).toEqual(
      new Map<string, unknown>([
        ['small', 7],
        ['large', 2n ** 60n],
        ['list', BigInt64Array.of(1n, -2n)],
        ['ints', Int32Array.of(1, -2)],
        ['flags', [true, false]],
      ]),
    );
    expect(isGgufCheckpoint(opened)).toBe(true);
    expect(isGgufCheckpoint(await safetensors.open(memory(await safetensorsFile([]))))).toBe(false);
  });

  it('writes tensors in row chunks and knows every offset before the first', async () => {
    const list: TensorEntry[] = [
      { name: 'a', dtype: 'Q4_0', shape: [5, 64] },
      { name: 'b', dtype: 'f32', shape: [] },
      { name: 'c', dtype: 'f16', shape: [3] },
    ];
    const sink = memorySink();
    const writer = createGgufWriter(sink, { metadata: [], tensors: list });
    await writer.writeTensor('a', entryBytes(list[0] as TensorEntry).subarray(0, 36));
    await writer.writeTensor('a', [entryBytes(list[0] as TensorEntry).subarray(36)]);
    await writer.writeTensor('b', new Uint8Array(4).fill(1));
    await writer.writeTensor('c', new Uint8Array(6).fill(2));
    await writer.finish();
    const file = sink.bytes();
    expect(file.length).toBe(writer.layout.byteLength);
    expect(file.length % 32).toBe(0);
    const layout = ggufLayout([], list);
    expect(file.subarray(0, layout.header.length)).toEqual(layout.header);
    for (const { offset } of layout.tensors) expect(offset % 32).toBe(0);
    const [, b, c] = layout.tensors;
    expect(file[b?.offset ?? 0]).toBe(1);
    expect(file[c?.offset ?? 0]).toBe(2);
    // A scalar becomes a vector of one element.
    expect((await gguf.open(memory(file))).tensors.get('b')?.shape).toEqual([1]);
  });

  it('refuses what the format cannot hold', async () => {
    const one = (entry: Partial<TensorEntry>) => () =>
      ggufLayout([], [{ name: 't', dtype: 'f32', shape: [4], ...entry }]);
    const meta = (entry: Partial<GgufMetadataEntry>) => () =>
      ggufLayout([{ key: 'k', type: 'u32', value: 1, ...entry }], []);
    await expectFailure(one({ name: 'x'.repeat(64) }), 'FORMAT', '63');
    await expectFailure(one({ name: 'é'.repeat(32) }), 'FORMAT', '64 bytes');
    await expectFailure(one({ shape: [1, 1, 1, 1, 1] }), 'SHAPE', 't:');
    await expectFailure(one({ shape: [0, 4] }), 'SHAPE', 't:');
    await expectFailure(one({ dtype: 'Q4_K', shape: [2, 128] }), 'SHAPE', 't:', '256');
    await expectFailure(one({ dtype: 'f8_e4m3' as DType }), 'UNSUPPORTED', 't:', 'f8_e4m3');
    await expectFailure(
      () =>
        ggufLayout(
          [],
          [1, 2].map(() => ({ name: 't', dtype: 'f32' as const, shape: [1] })),
        ),
      'FORMAT',
      't:',
    );
    await expectFailure(meta({ key: '' }), 'FORMAT', 'empty');
    await expectFailure(
      () =>
        ggufLayout(
          [1, 2].map((n) => ({ key: 'k', type: 'u32', value: n })),
          [],
        ),
      'FORMAT',
      'k occurs twice',
    );
    await expectFailure(meta({ value: -1 }), 'DTYPE', 'k:', 'u32');
    await expectFailure(meta({ value: 1.5 }), 'DTYPE', 'k:');
    await expectFailure(meta({ value: 2 ** 32 }), 'DTYPE', 'k:');
    await expectFailure(meta({ value: 'one' }), 'DTYPE', 'k:');
    await expectFailure(meta({ value: [1] }), 'DTYPE', 'k:', 'array');
    await expectFailure(meta({ type: 'u32[]' }), 'DTYPE', 'k:', 'array');
    await expectFailure(meta({ type: 'string', value: 3 }), 'DTYPE', 'k:');
    await expectFailure(meta({ type: 'u128' as 'u32' }), 'DTYPE', 'u128');
    for (const alignment of [0, 3, 48, -8, 2.5, 2 ** 21]) {
      await expectFailure(() => ggufLayout([], [], { alignment }), 'RANGE', 'alignment');
    }
    await expectFailure(
      () => ggufLayout([{ key: 'general.alignment', type: 'u32', value: 64 }], [], { alignment: 32 }),
      'RANGE',
    );
  });
});

describe('GGUF files of ours in @huggingface/gguf', () => {
  it('have the same metadata and tensors', async () => {
    const entries: GgufMetadataEntry[] = [
      { key: 'general.architecture', type: 'string', value: 'llama' },
      { key: 'general.alignment', type: 'u32', value: 64 },
      { key: 'u8', type: 'u8', value: 200 },
      { key: 'i8', type: 'i8', value: -100 },
      { key: 'u16', type: 'u16', value: 60000 },
      { key: 'i16', type: 'i16', value: -30000 },
      { key: 'i32', type: 'i32', value: -5 },
      { key: 'f32', type: 'f32', value: 1.5 },
      { key: 'f64', type: 'f64', value: Math.PI },
      { key: 'bool', type: 'bool', value: true },
      { key: 'u64', type: 'u64', value: 2n ** 60n },
      { key: 'i64', type: 'i64', value: -(2n ** 60n) },
      { key: 'tokens', type: 'string[]', value: ['a', 'ß', '', '日本'] },
      { key: 'scores', type: 'f32[]', value: [0, -1.5] },
    ];
    const list = GGUF_TYPES.map(
      ([dtype, block], i): TensorEntry => ({ name: `t${i}`, dtype, shape: [2, 3, block * 2] }),
    );
    const file = await ggufFile(list, entries);
    const folder = await mkdtemp(join(tmpdir(), 'halftone-gguf-'));
    try {
      const path = join(folder, 'ours.gguf');
      await writeFile(path, file);
      const read = await peer(path, { allowLocalFile: true });
      const layout = ggufLayout(entries, list);
      expect(read.metadata.version).toBe(3);
      expect(read.metadata.kv_count).toBe(BigInt(entries.length));
      for (const { key, value: wanted } of entries) {
        const got = (read.metadata as unknown as Record<string, unknown>)[key];
        expect(plain(got), key).toEqual(plain(wanted));
      }
      expect(Number(read.tensorDataOffset)).toBe(layout.header.length);
      expect(
        read.tensorInfos.map(({ name, shape, offset }) => ({
          name,
          shape: shape.map(Number).reverse(),
          offset: Number(offset) + layout.header.length,
        })),
      ).toEqual(layout.tensors.map(({ name, shape, offset }) => ({ name, shape, offset })));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('GGUF splits', () => {
  const list: TensorEntry[] = Array.from({ length: 7 }, (_, i) => ({
    name: `blk.${i}.weight`,
    dtype: 'Q8_0',
    shape: [4, 32],
  }));
  const entries: GgufMetadataEntry[] = [{ key: 'general.architecture', type: 'string', value: 'llama' }];

  async function written(maxSplitBytes: number, alignment?: number): Promise<Map<string, Uint8Array>> {
    const sinks = new Map<string, ReturnType<typeof memorySink>>();
    await writeGgufSplits(list, {
      metadata: entries,
      maxSplitBytes,
      alignment,
      data: entryBytes,
      createSink: (fileName) => {
        const sink = memorySink();
        sinks.set(fileName, sink);
        return sink;
      },
    });
    return new Map([...sinks].map(([name, sink]) => [name, sink.bytes()]));
  }

  it('are read back as one model, from memory and from a folder', async () => {
    const files = await written(300, 64);
    expect([...files.keys()]).toEqual(ggufSplitNames('model-00001-of-00004.gguf'));
    const parts = await Promise.all([...files.values()].map((bytes) => gguf.open(memory(bytes))));
    const joined = joinGgufSplits(parts);
    expect(joined.alignment).toBe(64);
    expect([...joined.metadata.keys()].some((key) => key.startsWith('split.'))).toBe(false);
    expect(joined.byteLength).toBe([...files.values()].reduce((sum, bytes) => sum + bytes.length, 0));
    for (const entry of list) expect((await joined.tensors.get(entry.name)?.read())?.bytes).toEqual(entryBytes(entry));

    const folder = await mkdtemp(join(tmpdir(), 'halftone-splits-'));
    try {
      for (const [name, bytes] of files) await writeFile(join(folder, name), bytes);
      for (const path of [folder, join(folder, 'model-00001-of-00004.gguf')]) {
        const opened = await openCheckpointPath(path);
        expect(opened.tensors.size).toBe(list.length);
        await opened.close();
      }
      await expectFailure(
        () => openCheckpointPath(join(folder, 'model-00002-of-00004.gguf')),
        'FORMAT',
        'model-00001-of-00004.gguf',
      );
      await rm(join(folder, 'model-00003-of-00004.gguf'));
      await expectFailure(() => openCheckpointPath(folder), 'IO', 'model-00003-of-00004.gguf');
      await writeFile(join(folder, 'part.gguf'), files.get('model-00001-of-00004.gguf') as Uint8Array);
      await expectFailure(() => openCheckpointPath(join(folder, 'part.gguf')), 'UNSUPPORTED', 'part.gguf');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('are one plain file when everything fits', async () => {
    const files = await written(1e9);
    expect([...files.keys()]).toEqual(['model.gguf']);
    expect(files.get('model.gguf')).toEqual(await ggufFile(list, entries));
    expect(planGgufSplits(list, { metadata: entries, maxSplitBytes: 1 }).length).toBe(list.length);
  });

  it('are refused when a part is missing, out of order or foreign', async () => {
    const files = [...(await written(300)).values()];
    const parts = await Promise.all(files.map((bytes) => gguf.open(memory(bytes))));
    const [first, second] = parts as [(typeof parts)[0], (typeof parts)[0]];
    await expectFailure(() => joinGgufSplits(parts.slice(0, 3)), 'FORMAT', 'split.count');
    await expectFailure(() => joinGgufSplits([...parts].reverse()), 'FORMAT', 'part 1');
    await expectFailure(() => joinGgufSplits([]), 'FORMAT');
    const copied = { ...second, tensors: first.tensors };
    await expectFailure(() => joinGgufSplits([first, copied, ...parts.slice(2)]), 'FORMAT', 'blk.0.weight');
    const emptied = { ...second, tensors: new Map() };
    await expectFailure(() => joinGgufSplits([first, emptied, ...parts.slice(2)]), 'FORMAT', 'split.tensors.count');
  });
});

import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggufListing, oracleAvailable } from '@halftone/llama-cpp-oracle';
import type { ByteSink, LazyTensor, TensorEntry } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type FileLayout,
  type GgufMetadataEntry,
  gguf,
  ggufLayout,
  safetensors,
  safetensorsLayout,
  streamRows,
  writeGguf,
  writeSafetensors,
} from '../src/index.js';
import { byteBuilder } from '../src/internal/byte-builder.js';
import { fileSource } from '../src/node.js';
import { expectFailure, ggufFile, memory, rawSafetensors, safetensorsFile } from './support/files.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-hostile-'));
});
afterAll(async () => {
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

const CODECS = { safetensors, gguf };
const LAYOUTS: Record<keyof typeof CODECS, (entries: readonly TensorEntry[]) => FileLayout> = {
  safetensors: (entries) => safetensorsLayout(entries, { order: 'given' }),
  gguf: (entries) => ggufLayout([], entries),
};
const FORMATS = Object.keys(CODECS) as (keyof typeof CODECS)[];

/** A sparse file: its holes take no room on the disk. */
async function sparse<T>(layout: FileLayout, marks: readonly number[], use: (path: string) => Promise<T>): Promise<T> {
  const path = join(folder, 'sparse');
  const handle = await open(path, 'w');
  await handle.write(layout.header);
  await handle.truncate(layout.byteLength);
  for (const [i, mark] of marks.entries()) await handle.write(Uint8Array.of(i + 1), 0, 1, mark);
  await handle.close();
  try {
    return await use(path);
  } finally {
    await rm(path);
  }
}

describe.each(FORMATS)('%s of absurd sizes', (format) => {
  const matrix: TensorEntry = { name: 'matrix', dtype: 'i8', shape: [3 * 2 ** 20 + 1, 1031] };
  const vector: TensorEntry = { name: 'vector', dtype: 'i16', shape: [2 ** 31 + 9] };
  const last: TensorEntry = { name: 'last', dtype: 'i8', shape: [8] };

  it('is read by rows beyond 2^31 elements and 4 GiB', async () => {
    // Narrow last: both formats keep this order.
    const layout = LAYOUTS[format]([vector, matrix, last]);
    const offsets = new Map(layout.tensors.map(({ name, offset }) => [name, offset]));
    const at = (name: string) => offsets.get(name) as number;
    const row = 3 * 2 ** 20;
    const marks = [at('vector') + 2 * (2 ** 31 + 5), at('matrix') + row * 1031 + 7, at('last') + 7];
    expect(marks[2]).toBeGreaterThan(7 * 2 ** 30);
    await sparse(layout, marks, async (path) => {
      const checkpoint = await CODECS[format].open(await fileSource(path));
      const read = async (name: string, start: number, end: number) =>
        (await checkpoint.tensors.get(name)?.read({ start, end }))?.bytes;
      expect(await read('vector', 2 ** 31 + 4, 2 ** 31 + 6)).toEqual(Uint8Array.of(0, 0, 1, 0));
      expect((await read('matrix', row, row + 1))?.indexOf(2)).toBe(7);
      expect((await read('last', 0, 8))?.[7]).toBe(3);
      await expectFailure(() => read('vector', 0, 2 ** 31 + 10), 'RANGE');
      await checkpoint.close();
    });
  });

  it('is not read whole when no array is that long', async () => {
    const layout = LAYOUTS[format]([{ name: 'w', dtype: 'i8', shape: [2 ** 20, 2 ** 20] }]);
    await sparse(layout, [], async (path) => {
      const checkpoint = await CODECS[format].open(await fileSource(path));
      const w = checkpoint.tensors.get('w');
      await expectFailure(() => w?.read(), 'RANGE', 'row ranges');
      expect((await w?.read({ start: 2 ** 20 - 1, end: 2 ** 20 }))?.bytes.length).toBe(2 ** 20);
      const first = await streamRows(w as LazyTensor).next();
      expect(first.value?.shape).toEqual([16, 2 ** 20]);
      await checkpoint.close();
    });
  });

  it('is written beyond 4 GiB with every byte where the header says', async () => {
    const entries = [vector, last];
    let layout: FileLayout | undefined;
    let position = 0;
    let lastAt = -1;
    const sink: ByteSink = {
      get position() {
        return position;
      },
      write: async (bytes) => {
        if (bytes[0] === 42) lastAt = position;
        position += bytes.length;
      },
      commit: async () => undefined,
      abort: async () => undefined,
    };
    const zeros = new Uint8Array(2 ** 26);
    const data = ({ name, byteLength }: { name: string; byteLength: number }) =>
      name === 'last' ? new Uint8Array(8).fill(42) : pieces(zeros, byteLength);
    if (format === 'gguf') layout = await writeGguf(sink, entries, { metadata: [], data });
    else layout = await writeSafetensors(sink, entries, { data });
    expect(position).toBe(layout.byteLength);
    expect(lastAt).toBe(layout.tensors[1]?.offset);
    expect(lastAt).toBeGreaterThan(2 ** 32);
  });

  it('with more elements than a number counts is refused, read or written', async () => {
    const shape = [2 ** 30, 2 ** 30];
    await expectFailure(() => LAYOUTS[format]([{ name: 'w', dtype: 'i8', shape }]), 'SHAPE', 'w');
    const file =
      format === 'gguf'
        ? rawGguf({ ne: shape })
        : rawSafetensors(`{"w":{"dtype":"I8","shape":[${shape}],"data_offsets":[0,0]}}`);
    await expectFailure(() => CODECS[format].open(memory(file)), 'SHAPE', 'w');
  });
});

function* pieces(buffer: Uint8Array, byteLength: number): Generator<Uint8Array> {
  for (let left = byteLength; left > 0; left -= buffer.length) yield buffer.subarray(0, Math.min(left, buffer.length));
}

/** One i8 tensor, and behind it a second one of four bytes. */
function rawGguf({ name = 'w' as string | Uint8Array, ne = [4] as number[] }): Uint8Array {
  const bytes = ne.reduce((product, dimension) => product * dimension, 1);
  const second = Math.ceil(bytes / 32) * 32;
  const builder = byteBuilder();
  builder.u32(0x46554747);
  builder.u32(3);
  builder.u64(2);
  builder.u64(0);
  for (const [each, shape, offset] of [
    [name, ne, 0],
    ['second', [4], second],
  ] as const) {
    builder.string(each);
    builder.u32(shape.length);
    for (const dimension of shape) builder.u64(dimension);
    builder.u32(24);
    builder.u64(BigInt(offset));
  }
  const header = builder.finish(32);
  const file = new Uint8Array(header.length + (bytes < 1000 ? second + 32 : 0));
  file.set(header);
  return file;
}

describe('tensors without elements and without dimensions', () => {
  it('are read and written by safetensors', async () => {
    const entries: TensorEntry[] = [
      { name: 'none', dtype: 'f32', shape: [0] },
      { name: 'empty rows', dtype: 'i32', shape: [4, 0] },
      { name: 'no rows', dtype: 'f16', shape: [0, 4] },
      { name: 'scalar', dtype: 'i8', shape: [] },
    ];
    const opened = await safetensors.open(memory(await safetensorsFile(entries)));
    for (const { name, shape } of entries) {
      const tensor = opened.tensors.get(name);
      expect(tensor?.shape).toEqual(shape);
      expect((await tensor?.read())?.bytes.length).toBe(name === 'scalar' ? 1 : 0);
    }
  });

  it('are read by GGUF as by ggml, written only where every reader takes them', async () => {
    for (const ne of [[0], [4, 0], [0, 4], []]) {
      const file = rawGguf({ ne });
      const opened = await gguf.open(memory(file));
      const tensor = opened.tensors.get('w');
      expect(tensor?.shape).toEqual([...ne].reverse());
      expect((await tensor?.read())?.bytes.length).toBe(ne.length === 0 ? 1 : 0);
      expect((await opened.tensors.get('second')?.read())?.bytes.length).toBe(4);
      if (!oracleAvailable()) continue;
      const path = join(folder, 'zero.gguf');
      await writeFile(path, file);
      const listing = await ggufListing(path);
      expect(listing.tensors.map(({ byteLength }) => byteLength)).toEqual([tensor?.byteLength, 4]);
      await rm(path);
    }
    await expectFailure(() => ggufFile([{ name: 'w', dtype: 'f32', shape: [0, 4] }]), 'SHAPE', 'w');
    const scalar = await gguf.open(memory(await ggufFile([{ name: 'w', dtype: 'f32', shape: [] }])));
    expect(scalar.tensors.get('w')?.shape).toEqual([1]);
  });
});

describe('hostile names', () => {
  const NAMES = ['__proto__', 'constructor', 'toString', ' ', '\u0001', '日本/../x', '"quoted\\"', '\u{1f600}'];

  it('are names like any other', async () => {
    const entries = NAMES.map((name): TensorEntry => ({ name, dtype: 'i8', shape: [3] }));
    const metadata = NAMES.map((key): GgufMetadataEntry => ({ key, type: 'string', value: key }));
    const strings = await safetensors.open(
      memory(await safetensorsFile(entries, Object.fromEntries(NAMES.map((name) => [name, name])))),
    );
    const typed = await gguf.open(memory(await ggufFile(entries, metadata)));
    for (const { tensors, metadata: read } of [strings, typed]) {
      expect([...tensors.keys()]).toEqual(NAMES);
      // Object.fromEntries makes `__proto__` a member of its own.
      expect(new Map(read)).toEqual(new Map(NAMES.map((name) => [name, name])));
    }
  });

  it('that twice are one are refused, escaped or not', async () => {
    const twice = ['a', 'a'].map((name): TensorEntry => ({ name, dtype: 'i8', shape: [1] }));
    await expectFailure(() => safetensorsFile(twice), 'FORMAT', 'a');
    await expectFailure(() => ggufFile(twice), 'FORMAT', 'a');
    const entry = (begin: number) => `{"dtype":"I8","shape":[1],"data_offsets":[${begin},${begin + 1}]}`;
    const file = rawSafetensors(`{"a":${entry(0)},"\\u0061":${entry(1)}}`, 2);
    await expectFailure(() => safetensors.open(memory(file)), 'FORMAT', 'duplicate');
    await expectFailure(() => gguf.open(memory(rawGguf({ name: 'second', ne: [32] }))), 'FORMAT', 'second');
  });

  it('and values that are not Unicode are refused, or kept as bytes where GGUF can', async () => {
    const half = '\ud800';
    const entry = (name: string): TensorEntry => ({ name, dtype: 'i8', shape: [1] });
    await expectFailure(() => safetensorsFile([entry(half)]), 'FORMAT');
    await expectFailure(() => safetensorsFile([], { [half]: 'x' }), 'FORMAT', 'Unicode');
    await expectFailure(() => safetensorsFile([], { x: half }), 'FORMAT', 'Unicode');
    await expectFailure(() => ggufFile([entry(half)]), 'FORMAT');
    await expectFailure(() => ggufFile([entry('a\0b')]), 'FORMAT');
    await expectFailure(() => ggufFile([], [{ key: half, type: 'u8', value: 1 }]), 'DTYPE', 'Unicode');
    await expectFailure(() => ggufFile([], [{ key: 'k', type: 'string[]', value: ['a', half] }]), 'DTYPE', 'item 1');

    const bytes = Uint8Array.of(0xed, 0xa0, 0x80);
    await expectFailure(() => gguf.open(memory(rawGguf({ name: bytes }))), 'FORMAT', 'UTF-8');
    const kept = await gguf.open(
      memory(await ggufFile([], [{ key: 'k', type: 'string', value: '', rawStrings: new Map([[0, bytes]]) }])),
    );
    expect(kept.ggufMetadata.get('k')?.rawStrings).toEqual(new Map([[0, bytes]]));
    await expectFailure(() => safetensors.open(memory(rawSafetensors('{"__metadata__":{"a":"\\ud800"}}'))), 'FORMAT');
    await expectFailure(() => safetensors.open(memory(rawSafetensors('{"__metadata__":{"\\udfff":""}}'))), 'FORMAT');
    const header = Uint8Array.from([...new TextEncoder().encode('{"'), 0xff, ...new TextEncoder().encode('":{}}')]);
    await expectFailure(() => safetensors.open(memory(rawSafetensors(header))), 'FORMAT', 'UTF-8');
  });
});

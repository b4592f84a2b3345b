import type { DType, TensorEntry } from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createSafetensorsWriter,
  memorySink,
  openSafetensorsShards,
  parseSafetensorsIndex,
  planSafetensorsShards,
  SAFETENSORS_DTYPES,
  SAFETENSORS_INDEX_NAME,
  safetensors,
  safetensorsLayout,
  streamRows,
  writeSafetensors,
  writeSafetensorsShards,
} from '../src/index.js';
import { entryBytes, expectFailure, memory, safetensorsFile } from './support/files.js';

const dtypes = Object.values(SAFETENSORS_DTYPES);
const entries = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom(...dtypes),
    // Whole rows of 4-bit and 6-bit elements take whole bytes when the last axis is a multiple of 4.
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }).map((shape) => [...shape, 4]),
  }),
  { selector: ({ name }) => name, maxLength: 8 },
);

describe('writeSafetensors', () => {
  it('writes what the reader reads', async () => {
    await fc.assert(
      fc.asyncProperty(entries, fc.dictionary(fc.string(), fc.string()), async (list: TensorEntry[], metadata) => {
        const file = await safetensorsFile(list, metadata);
        const checkpoint = await safetensors.open(memory(file));
        expect(checkpoint.metadata).toEqual(new Map(Object.entries(metadata)));
        expect([...checkpoint.tensors.keys()].sort()).toEqual(list.map(({ name }) => name).sort());
        for (const entry of list) {
          const tensor = checkpoint.tensors.get(entry.name);
          expect(tensor).toMatchObject({ dtype: entry.dtype, shape: entry.shape });
          expect((await tensor?.read())?.bytes).toEqual(entryBytes(entry));
        }
      }),
      { numRuns: 150 },
    );
  });

  it('starts the data at a multiple of 8 and every tensor at a multiple of its element size', async () => {
    await fc.assert(
      fc.property(entries, (list) => {
        const layout = safetensorsLayout(list);
        expect(layout.header.length % 8).toBe(0);
        for (const { dtype, offset, byteLength } of layout.tensors) {
          const width = Number(/\d+/.exec(dtype as string)?.[0] ?? 8);
          if (byteLength > 0 && width >= 8) expect(offset % (width / 8)).toBe(0);
        }
      }),
    );
  });

  it('keeps a given order, or says why it cannot', async () => {
    const list: TensorEntry[] = [
      { name: 'a', dtype: 'f16', shape: [4] },
      { name: 'b', dtype: 'f32', shape: [2] },
    ];
    expect(safetensorsLayout(list, { order: 'given' }).tensors.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(safetensorsLayout(list).tensors.map(({ name }) => name)).toEqual(['b', 'a']);
    const odd: TensorEntry[] = [{ name: 'a', dtype: 'u8', shape: [3] }, list[1] as TensorEntry];
    await expectFailure(() => safetensorsLayout(odd, { order: 'given' }), 'FORMAT', 'b:', 'aligned');
  });

  it('writes a tensor in pieces of any size', async () => {
    const list: TensorEntry[] = [
      { name: 'a', dtype: 'f32', shape: [6, 5] },
      { name: 'empty', dtype: 'f32', shape: [0] },
      { name: 'b', dtype: 'u8', shape: [7] },
    ];
    const expected = await safetensorsFile(list);
    const sink = memorySink();
    const writer = createSafetensorsWriter(sink, { tensors: list });
    for (const tensor of writer.layout.tensors) {
      const bytes = entryBytes(tensor);
      for (let at = 0; at < bytes.length; at += 11) await writer.writeTensor(tensor.name, bytes.subarray(at, at + 11));
    }
    await writer.finish();
    expect(sink.bytes()).toEqual(expected);

    const streamed = memorySink();
    const checkpoint = await safetensors.open(memory(expected));
    await writeSafetensors(streamed, list, {
      data: async function* ({ name }) {
        const tensor = checkpoint.tensors.get(name);
        if (tensor !== undefined) for await (const { bytes } of streamRows(tensor, { maxBytes: 40 })) yield bytes;
      } as (tensor: { name: string }) => AsyncIterable<Uint8Array>,
    });
    expect(streamed.bytes()).toEqual(expected);
  });

  it('refuses tensors out of order, too many and too few bytes, and leaves no file', async () => {
    const tensors: TensorEntry[] = [
      { name: 'a', dtype: 'u8', shape: [2] },
      { name: 'b', dtype: 'u8', shape: [2] },
    ];
    const make = () => createSafetensorsWriter(memorySink(), { tensors });
    await expectFailure(() => make().writeTensor('b', new Uint8Array(2)), 'RANGE', 'b:', 'a');
    await expectFailure(() => make().writeTensor('a', new Uint8Array(3)), 'RANGE', 'a:', '3 bytes');
    await expectFailure(() => make().finish(), 'RANGE', 'a:', '0 of its 2 bytes');
    const sink = memorySink();
    await expectFailure(() => writeSafetensors(sink, tensors, { data: () => new Uint8Array(1) }), 'RANGE', 'b');
    await expectFailure(() => sink.bytes(), 'IO');
    const used = memorySink();
    await used.write(new Uint8Array(3));
    await expectFailure(() => createSafetensorsWriter(used, { tensors }), 'RANGE', 'byte 3');
  });

  it('refuses what the format cannot hold', async () => {
    const one = (dtype: TensorEntry['dtype'], shape: number[], name = 't') =>
      safetensorsLayout([{ name, dtype, shape }]);
    await expectFailure(() => one('Q4_K', [1, 256]), 'UNSUPPORTED', 't:', 'GGUF');
    await expectFailure(() => one('u4' as DType, [2]), 'UNSUPPORTED', 't:', 'u4');
    await expectFailure(() => one('f4_e2m1', [2, 3]), 'SHAPE', 't:');
    await expectFailure(() => one('u8', [2 ** 40, 2 ** 40]), 'SHAPE');
    await expectFailure(() => one('u8', [1], '__metadata__'), 'FORMAT');
    await expectFailure(() => one('u8', [1], '\ud800'), 'FORMAT');
    const twice: TensorEntry[] = [1, 2].map((n) => ({ name: 'same', dtype: 'u8', shape: [n] }));
    await expectFailure(() => safetensorsLayout(twice), 'FORMAT', 'same');
  });

  it('stops when the signal fires', async () => {
    const controller = new AbortController();
    const list: TensorEntry[] = ['a', 'b'].map((name) => ({ name, dtype: 'u8', shape: [2] }));
    const data = () => {
      controller.abort();
      return new Uint8Array(2);
    };
    await expectFailure(() => writeSafetensors(memorySink(), list, { data, signal: controller.signal }), 'ABORTED');
  });
});

describe('safetensors shards', () => {
  const list: TensorEntry[] = Array.from({ length: 9 }, (_, i) => ({
    name: `layers.${i}.weight`,
    dtype: i % 2 === 0 ? 'bf16' : 'f32',
    shape: [4, 8],
  }));

  async function written(maxShardBytes: number): Promise<Map<string, Uint8Array>> {
    const files = new Map<string, ReturnType<typeof memorySink>>();
    await writeSafetensorsShards(list, {
      maxShardBytes,
      data: entryBytes,
      createSink: (fileName) => {
        const sink = memorySink();
        files.set(fileName, sink);
        return sink;
      },
    });
    return new Map([...files].map(([name, sink]) => [name, sink.bytes()]));
  }

  function reopen(files: Map<string, Uint8Array>, indexText?: string) {
    const text = indexText ?? new TextDecoder().decode(files.get(SAFETENSORS_INDEX_NAME));
    return openSafetensorsShards(parseSafetensorsIndex(text), {
      openFile: (fileName) => memory(files.get(fileName) as Uint8Array),
    });
  }

  it('are read back as one checkpoint', async () => {
    const files = await written(300);
    expect([...files.keys()].length).toBeGreaterThan(3);
    for (const [name, bytes] of files) if (name.endsWith('.safetensors')) expect(bytes.length).toBeLessThan(300 + 600);
    const checkpoint = await reopen(files);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(list.map(({ name }) => name));
    for (const entry of list) {
      expect((await checkpoint.tensors.get(entry.name)?.read())?.bytes).toEqual(entryBytes(entry));
    }
    const index = JSON.parse(new TextDecoder().decode(files.get(SAFETENSORS_INDEX_NAME)));
    expect(index.metadata.total_size).toBe(5 * 64 + 4 * 128);
  });

  it('are one file without an index when everything fits', async () => {
    expect([...(await written(1e9)).keys()]).toEqual(['model.safetensors']);
    expect(planSafetensorsShards(list).index).toBeUndefined();
  });

  it('are refused when index and shards disagree', async () => {
    const files = await written(300);
    const text = new TextDecoder().decode(files.get(SAFETENSORS_INDEX_NAME));
    const index = JSON.parse(text);
    const [first, second] = [...files.keys()].filter((name) => name.endsWith('.safetensors')) as [string, string];
    const withMap = (weight_map: object) => JSON.stringify({ ...index, weight_map });
    await expectFailure(
      () => reopen(files, withMap({ ...index.weight_map, 'layers.0.weight': second })),
      'FORMAT',
      'layers.0.weight',
      first,
      second,
    );
    await expectFailure(() => reopen(files, withMap({ ...index.weight_map, ghost: first })), 'FORMAT', 'ghost', first);
    const { 'layers.0.weight': _dropped, ...rest } = index.weight_map;
    await expectFailure(() => reopen(files, withMap(rest)), 'FORMAT', 'layers.0.weight', 'not in the index');
    for (const file of ['../evil.safetensors', 'a/b', 'a\\b', '..', '', 3]) {
      await expectFailure(() => parseSafetensorsIndex(withMap({ a: file })), 'FORMAT', 'plain file name');
    }
    await expectFailure(() => parseSafetensorsIndex('{}'), 'FORMAT', 'weight_map');
    await expectFailure(() => parseSafetensorsIndex('{"weight_map":{"a":"x","a":"y"}}'), 'FORMAT', 'duplicate');
  });

  it('leave no file when writing fails', async () => {
    let aborted = 0;
    let committed = 0;
    const createSink = () => {
      const sink = memorySink();
      return {
        get position() {
          return sink.position;
        },
        write: sink.write,
        commit: async () => void committed++,
        abort: async () => void aborted++,
      };
    };
    const data = (tensor: TensorEntry) => {
      if (tensor.name === 'layers.8.weight') throw new RangeError('broken');
      return entryBytes(tensor);
    };
    await expect(writeSafetensorsShards(list, { maxShardBytes: 300, data, createSink })).rejects.toThrow('broken');
    expect(committed).toBe(0);
    expect(aborted).toBeGreaterThan(2);
  });
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ggufListing, oracleAvailable } from '@halftone/llama-cpp-oracle';
import type { TensorEntry } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GgufMetadataEntry, gguf, ggufLayout } from '../src/index.js';
import { expectFailure, ggufFile, memory } from './support/files.js';
import { GGUF_TYPES } from './support/gguf-types.js';

const ENTRIES: GgufMetadataEntry[] = [
  { key: 'general.architecture', type: 'string', value: 'llama' },
  { key: 'u8', type: 'u8', value: 200 },
  { key: 'i8', type: 'i8', value: -100 },
  { key: 'u16', type: 'u16', value: 60000 },
  { key: 'i16', type: 'i16', value: -30000 },
  { key: 'u32', type: 'u32', value: 2 ** 32 - 1 },
  { key: 'i32', type: 'i32', value: -5 },
  { key: 'f32', type: 'f32', value: 1.5 },
  { key: 'f64', type: 'f64', value: Math.PI },
  { key: 'bool', type: 'bool', value: true },
  { key: 'u64', type: 'u64', value: 2 ** 40 },
  { key: 'i64', type: 'i64', value: -(2 ** 40) },
  { key: 'tokens', type: 'string[]', value: ['a', 'ß', '', '日本'] },
  { key: 'scores', type: 'f32[]', value: [0, -1.5] },
  { key: 'types', type: 'i32[]', value: [1, 2, 3] },
];

describe.skipIf(!oracleAvailable())(
  'GGUF files of ours in ggml (skipped where the llama.cpp libraries are absent)',
  () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'halftone-gguf-oracle-'));
    });
    afterAll(() => rm(folder, { recursive: true }));

    async function listing(bytes: Uint8Array) {
      const path = join(folder, 'file.gguf');
      await writeFile(path, bytes);
      return ggufListing(path);
    }

    it.each([undefined, 64, 8])('have the same keys, tensors and offsets, alignment %s', async (alignment) => {
      const list = GGUF_TYPES.map(
        ([dtype, block], i): TensorEntry => ({ name: `blk.${i}`, dtype, shape: [2, 3, block * (1 + (i % 2))] }),
      );
      const read = await listing(await ggufFile(list, ENTRIES, alignment));
      const layout = ggufLayout(ENTRIES, list, { alignment });
      expect(read.version).toBe(3);
      expect(read.alignment).toBe(alignment ?? 32);
      expect(read.dataOffset).toBe(layout.header.length);
      const keys = new Map(read.keys.map(({ key, type, value }) => [key, { type, value }]));
      expect([...keys.keys()].filter((key) => key !== 'general.alignment')).toEqual(ENTRIES.map(({ key }) => key));
      for (const { key, type, value } of ENTRIES) {
        // ggml's name for strings is `str`.
        expect(keys.get(key), key).toEqual({ type: type.replace('string', 'str'), value });
      }
      expect(read.tensors.map(({ name, offset, byteLength }) => ({ name, offset, byteLength }))).toEqual(
        layout.tensors.map(({ name, offset, byteLength }) => ({
          name,
          offset: offset - layout.header.length,
          byteLength,
        })),
      );
      for (const [i, { type, ne }] of read.tensors.entries()) {
        expect(type.toLowerCase()).toBe(String(list[i]?.dtype).toLowerCase());
        expect(ne).toEqual([...(list[i]?.shape ?? [])].reverse().concat(1));
      }
    });

    it('are refused by both when they are damaged', async () => {
      const file = await ggufFile(
        [
          { name: 'abc', dtype: 'f32', shape: [4] },
          { name: 'def', dtype: 'Q8_0', shape: [2, 32] },
        ],
        [
          { key: 'general.alignment', type: 'u32', value: 64 },
          { key: 'key.one', type: 'u32', value: 1 },
          { key: 'key.two', type: 'i32[]', value: [1, 2] },
        ],
      );
      const indexOf = (text: string) => Buffer.from(file).indexOf(text);
      const edits: [string, (bytes: Uint8Array, view: DataView) => void][] = [
        ['magic', (bytes) => bytes.fill(0, 0, 1)],
        ['version 1', (_bytes, view) => view.setUint32(4, 1, true)],
        ['big-endian', (_bytes, view) => view.setUint32(4, 3, false)],
        ['alignment 48', (_bytes, view) => view.setUint32(indexOf('general.alignment') + 17 + 4, 48, true)],
        ['duplicate key', (bytes) => bytes.set(Buffer.from('key.one'), indexOf('key.two'))],
        ['nested array', (_bytes, view) => view.setUint32(indexOf('key.two') + 7 + 4, 9, true)],
        ['unknown value type', (_bytes, view) => view.setUint32(indexOf('key.one') + 7, 77, true)],
        ['duplicate name', (bytes) => bytes.set(Buffer.from('abc'), indexOf('def'))],
        ['five dimensions', (_bytes, view) => view.setUint32(indexOf('abc') + 3, 5, true)],
        ['negative dimension', (_bytes, view) => view.setBigInt64(indexOf('abc') + 7, -4n, true)],
        ['removed type', (_bytes, view) => view.setUint32(indexOf('abc') + 15, 4, true)],
        ['wrong offset', (_bytes, view) => view.setBigUint64(indexOf('def') + 3 + 4 + 16 + 4, 128n, true)],
        ['rows that cut a block', (_bytes, view) => view.setBigUint64(indexOf('def') + 7, 33n, true)],
      ];
      await listing(file);
      await gguf.open(memory(file));
      for (const [what, edit] of edits) {
        const bytes = file.slice();
        edit(bytes, new DataView(bytes.buffer));
        await expect(listing(bytes), `${what}, ggml`).rejects.toThrow();
        await expect(gguf.open(memory(bytes)), `${what}, ours`).rejects.toThrow(/^\[gguf\]/);
      }
      await expectFailure(() => listing(new Uint8Array(3)), 'FORMAT');
    });
  },
);

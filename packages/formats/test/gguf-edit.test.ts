import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorEntry } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type GgufMetadataEdits,
  type GgufMetadataEntry,
  gguf,
  ggufLayout,
  planGgufMetadataEdit,
  readGgufHeader,
} from '../src/index.js';
import { editGgufMetadata, fileSource } from '../src/node.js';
import { entryBytes, expectFailure, ggufFile, memory } from './support/files.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-gguf-edit-'));
});
afterAll(() => rm(folder, { recursive: true }));

const TENSORS: TensorEntry[] = [
  { name: 'a', dtype: 'f32', shape: [3, 5] },
  { name: 'b', dtype: 'Q8_0', shape: [2, 32] },
  { name: 'c', dtype: 'f16', shape: [] },
];
const METADATA: GgufMetadataEntry[] = [
  { key: 'general.architecture', type: 'string', value: 'llama' },
  { key: 'general.name', type: 'string', value: 'one' },
  { key: 'raw', type: 'string[]', value: ['x', '�'], rawStrings: new Map([[1, Uint8Array.of(0xff)]]) },
  { key: 'big', type: 'u64', value: 2n ** 63n },
];
const value = (key: string, text: string): GgufMetadataEntry => ({ key, type: 'string', value: text });

async function edited(edits: GgufMetadataEdits, alignment?: number) {
  const before = await ggufFile(TENSORS, METADATA, alignment);
  const header = await readGgufHeader(memory(before));
  const plan = planGgufMetadataEdit(header, edits);
  const after = Buffer.concat([plan.header, before.subarray(header.dataOffset)]);
  return { plan, file: await gguf.open(memory(after)) };
}

describe('editing GGUF metadata', () => {
  it('sets, renames and removes keys, and leaves tensors as they are', async () => {
    for (const alignment of [undefined, 1, 64, 4096]) {
      const { file } = await edited(
        {
          set: [
            value('new', 'N'.repeat(5000)),
            value('general.name', 'two'),
            { key: 'list', type: 'i8[]', value: [1] },
          ],
          rename: new Map([['big', 'large']]),
          remove: ['general.architecture'],
        },
        alignment,
      );
      const kept = [...file.metadata.keys()].filter((key) => key !== 'general.alignment');
      expect(kept).toEqual(['general.name', 'raw', 'large', 'new', 'list']);
      expect(file.metadata.get('general.name')).toBe('two');
      expect(file.ggufMetadata.get('large')).toEqual({ type: 'u64', value: 2n ** 63n });
      expect({ key: 'raw', ...file.ggufMetadata.get('raw') }).toEqual(METADATA[2]);
      expect(file.alignment).toBe(alignment ?? 32);
      for (const entry of TENSORS)
        expect((await file.tensors.get(entry.name)?.read())?.bytes).toEqual(entryBytes(entry));
    }
  });

  it('gives the file that a writer with that metadata gives', async () => {
    const { plan } = await edited({ set: [value('general.name', 'three')] });
    const metadata = METADATA.map((entry) => (entry.key === 'general.name' ? value('general.name', 'three') : entry));
    expect(plan.header).toEqual(ggufLayout(metadata, TENSORS).header);
    expect((await edited({})).plan.header).toEqual(ggufLayout(METADATA, TENSORS).header);
  });

  it('refuses what would move the data, and edits that contradict each other', async () => {
    for (const key of ['general.alignment', 'split.no', 'split.count', 'split.tensors.count']) {
      await expectFailure(() => edited({ set: [{ key, type: 'u32', value: 64 }] }), 'UNSUPPORTED', key);
      await expectFailure(() => edited({ remove: [key] }, 64), 'UNSUPPORTED', key);
      await expectFailure(() => edited({ rename: new Map([['general.name', key]]) }), 'UNSUPPORTED', key);
      await expectFailure(() => edited({ rename: new Map([[key, 'other']]) }, 64), 'UNSUPPORTED', key);
    }
    await expectFailure(() => edited({ remove: ['missing'] }), 'RANGE', 'missing');
    await expectFailure(() => edited({ rename: new Map([['missing', 'x']]) }), 'RANGE', 'missing');
    await expectFailure(() => edited({ remove: ['big', 'big'] }), 'RANGE', 'twice');
    await expectFailure(() => edited({ set: [value('big', '')], remove: ['big'] }), 'RANGE', 'twice');
    await expectFailure(() => edited({ set: [value('x', ''), value('x', '')] }), 'RANGE', 'twice');
    await expectFailure(
      () =>
        edited({
          rename: new Map([
            ['big', 'x'],
            ['raw', 'x'],
          ]),
        }),
      'RANGE',
      'twice',
    );
    await expectFailure(() => edited({ rename: new Map([['big', 'raw']]) }), 'FORMAT', 'raw');
    await expectFailure(() => edited({ rename: new Map([['big', '']]) }), 'FORMAT', 'empty');
    await expectFailure(() => edited({ set: [{ key: 'k', type: 'u8', value: 256 }] }), 'DTYPE', 'k');
  });

  // The header ends within the padding of the old one, or grows beyond it.
  it.each([
    ['as long as before', 'ONE'],
    ['longer', 'longer'.repeat(100)],
  ])('on disk keeps every byte of the data when the header is %s', async (_what, name) => {
    const path = join(folder, 'model.gguf');
    const before = Buffer.concat([await ggufFile(TENSORS, METADATA), Buffer.from('left over')]);
    await writeFile(path, before);
    const { dataOffset } = await readGgufHeader(memory(before));
    const out = join(folder, 'out.gguf');
    for (const options of [{ out }, {}]) {
      const plan = await editGgufMetadata(path, { set: [value('general.name', name)] }, options);
      const after = await readFile(options.out ?? path);
      expect(Buffer.compare(after, Buffer.concat([plan.header, before.subarray(dataOffset)]))).toBe(0);
      const opened = await gguf.open(await fileSource(options.out ?? path));
      expect(opened.metadata.get('general.name')).toBe(name);
      await opened.close();
    }
    expect((await readdir(folder)).sort()).toEqual(['model.gguf', 'out.gguf']);
    await rm(out);
  });

  it('on disk changes the file behind no link, and nothing when it is refused', async () => {
    const path = join(folder, 'model.gguf');
    const before = await ggufFile(TENSORS, METADATA);
    await writeFile(path, before);
    const link = join(folder, 'link.gguf');
    await symlink(path, link);
    await editGgufMetadata(link, { set: [value('general.name', 'linked')] });
    expect(new Uint8Array(await readFile(path))).toEqual(before);
    expect((await gguf.open(memory(await readFile(link)))).metadata.get('general.name')).toBe('linked');
    await rm(link);

    await expectFailure(() => editGgufMetadata(path, { remove: ['missing'] }), 'RANGE');
    for (const name of ['two', 'x'.repeat(500)]) {
      const edits = { set: [value('general.name', name)] };
      await expectFailure(() => editGgufMetadata(path, edits, { signal: AbortSignal.abort() }), 'ABORTED');
      await expectFailure(() => editGgufMetadata(path, edits, { out: join(folder, 'no', 'file') }), 'IO', 'ENOENT');
    }
    expect(new Uint8Array(await readFile(path))).toEqual(before);
    expect(await readdir(folder)).toEqual(['model.gguf']);
  });

  it('opens what has no tensors and no padding', async () => {
    const path = join(folder, 'model.gguf');
    const whole = await ggufFile([], [value('k', 'a')]);
    // The format asks for padding only before data.
    const unpadded = whole.subarray(0, 24 + 8 + 1 + 4 + 8 + 1);
    await writeFile(path, unpadded);
    await editGgufMetadata(path, { set: [value('k', 'b')] });
    expect((await gguf.open(memory(await readFile(path)))).metadata.get('k')).toBe('b');
  });
});

import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorEntry } from '@halftone/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySink, safetensors, writeSafetensorsShards } from '../src/index.js';
import { fileSink, openCheckpointPath } from '../src/node.js';
import { entryBytes, expectFailure, ggufFile, llama2cFile, safetensorsFile } from './support/files.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'halftone-paths-'));
});
afterAll(() => rm(root, { recursive: true }));

const list: TensorEntry[] = Array.from({ length: 4 }, (_, i) => ({ name: `w${i}`, dtype: 'f32', shape: [4, 8] }));

async function folderWith(name: string, files: Record<string, Uint8Array | string>): Promise<string> {
  const folder = join(root, name);
  await mkdir(folder);
  for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
  return folder;
}

async function formatOf(path: string): Promise<string> {
  const checkpoint = await openCheckpointPath(path);
  await checkpoint.close();
  return `${checkpoint.format} ${checkpoint.tensors.size}`;
}

describe('openCheckpointPath', () => {
  it('opens files by content and folders by their model', async () => {
    const st = await safetensorsFile(list);
    const gg = await ggufFile(list);
    expect(
      await formatOf(
        await folderWith('main', { 'model.safetensors': st, 'other.safetensors': gg, 'config.json': '{}' }),
      ),
    ).toBe('safetensors 4');
    expect(await formatOf(await folderWith('single', { 'adapter.safetensors': st, 'x.gguf': gg }))).toBe(
      'safetensors 4',
    );
    expect(await formatOf(await folderWith('gguf', { 'wren-Q4_K.gguf': gg }))).toBe('gguf 4');
    const legacy = await folderWith('legacy', { 'stories.bin': llama2cFile(), 'tok512.bin': 'x', 'misnamed.txt': st });
    expect(await formatOf(legacy)).toBe('llama2c 20');
    expect(await formatOf(join(legacy, 'misnamed.txt'))).toBe('safetensors 4');
  });

  it('opens shards written by a file sink, by folder and by index', async () => {
    const folder = await folderWith('shards', {});
    const plan = await writeSafetensorsShards(list, {
      maxShardBytes: 300,
      data: entryBytes,
      createSink: (fileName, expectedBytes) => fileSink(join(folder, fileName), { expectedBytes }),
    });
    expect((await readdir(folder)).sort()).toEqual(
      [...plan.files.map(({ fileName }) => fileName), 'model.safetensors.index.json'].sort(),
    );
    expect(await formatOf(folder)).toBe('safetensors 4');
    expect(await formatOf(join(folder, 'model.safetensors.index.json'))).toBe('safetensors 4');
    await rm(join(folder, 'model-00002-of-00002.safetensors'));
    await expectFailure(() => openCheckpointPath(folder), 'IO', 'model-00002-of-00002.safetensors', 'ENOENT');
  });

  it('says what a folder lacks or has too much of', async () => {
    await expectFailure(
      async () => openCheckpointPath(await folderWith('nothing', { 'a.txt': '' })),
      'IO',
      'nothing',
      'model.safetensors',
    );
    const both = await folderWith('both', { 'a.gguf': await ggufFile(list), 'b.gguf': await ggufFile(list) });
    await expectFailure(() => openCheckpointPath(both), 'IO', 'a.gguf, b.gguf');
    await expectFailure(() => openCheckpointPath(join(root, 'absent')), 'IO', 'absent', 'ENOENT');
  });

  it('takes a list of codecs and refuses files of others', async () => {
    const folder = await folderWith('other', { 'x.gguf': await ggufFile(list) });
    await expectFailure(() => openCheckpointPath(folder, { codecs: [safetensors] }), 'FORMAT', 'x.gguf', 'safetensors');
    await expectFailure(() => openCheckpointPath(folder, { signal: AbortSignal.abort() }), 'ABORTED');
  });

  it('leaves no file of a set of shards that failed', async () => {
    const folder = await folderWith('failed', {});
    const data = (tensor: TensorEntry) => (tensor.name === 'w3' ? new Uint8Array(1) : entryBytes(tensor));
    const createSink = (fileName: string) => fileSink(join(folder, fileName));
    await expectFailure(() => writeSafetensorsShards(list, { maxShardBytes: 130, data, createSink }), 'RANGE', 'w3');
    expect(await readdir(folder)).toEqual([]);
    await expectFailure(
      () =>
        writeSafetensorsShards(list, {
          maxShardBytes: 130,
          data: entryBytes,
          createSink: memorySink,
          signal: AbortSignal.abort(),
        }),
      'ABORTED',
    );
  });
});

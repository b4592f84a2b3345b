import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { llamaDescribe, llamaLosses, oracleAvailable } from '@halftone/llama-cpp-oracle';
import { type DType, decode, type PackedTensor, type TensorEntry } from '@halftone/tensor';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyGgufTransform, type GgufMetadataEntry, huggingFaceToGguf, memorySink, writeGguf } from '../src/index.js';
import { mergeGgufSplits, openCheckpointPath, splitGgufFile } from '../src/node.js';
import { expectFailure, ggufFile, safetensorsFile } from './support/files.js';
import { hasSharedModels, sharedModel } from './support/shared.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-gguf-splits-'));
  await mkdir(join(folder, 'parts'));
});
afterEach(() => rm(folder, { recursive: true }));

const TENSORS: TensorEntry[] = [
  { name: 'tiny', dtype: 'f32', shape: [] },
  { name: 'large', dtype: 'Q4_0', shape: [40, 64] },
  { name: 'odd', dtype: 'i8', shape: [7, 3] },
  { name: 'last', dtype: 'bf16', shape: [2, 2, 5] },
];
const METADATA: GgufMetadataEntry[] = [
  { key: 'general.architecture', type: 'string', value: 'llama' },
  { key: 'tokens', type: 'string[]', value: ['a', '�'], rawStrings: new Map([[1, Uint8Array.of(0xfe)]]) },
];

describe('splits on disk', () => {
  it.each([undefined, 64, 1])('split and merged are the file that was there, alignment %s', async (alignment) => {
    const whole = await ggufFile(TENSORS, METADATA, alignment);
    const path = join(folder, 'whole.gguf');
    await writeFile(path, whole);
    for (const maxSplitBytes of [1, 70, 1500, 1e9]) {
      const parts = join(folder, 'parts');
      const names = await splitGgufFile(path, { folder: parts, baseName: 'm', maxSplitBytes });
      expect(await readdir(parts)).toEqual(names);
      expect(names.length).toBe({ 1: 4, 70: 3, 1500: 2, 1e9: 1 }[maxSplitBytes]);
      const merged = join(folder, 'merged.gguf');
      for (const from of [parts, join(parts, names[0] as string)]) {
        await mergeGgufSplits(from, merged);
        expect(Buffer.compare(await readFile(merged), whole)).toBe(0);
      }
      for (const name of names) await rm(join(parts, name));
    }
  });

  it('are not begun for other files, missing parts and absurd sizes', async () => {
    const parts = join(folder, 'parts');
    await writeFile(join(folder, 'x.safetensors'), await safetensorsFile([{ name: 'a', dtype: 'f32', shape: [1] }]));
    await expectFailure(() => mergeGgufSplits(join(folder, 'x.safetensors'), join(parts, 'out')), 'FORMAT');
    await writeFile(join(folder, 'whole.gguf'), await ggufFile(TENSORS, METADATA));
    for (const maxSplitBytes of [0, -1, Number.NaN]) {
      await expectFailure(
        () => splitGgufFile(join(folder, 'whole.gguf'), { folder: parts, maxSplitBytes }),
        'RANGE',
        'maxSplitBytes',
      );
    }
    await expectFailure(
      () => splitGgufFile(join(folder, 'whole.gguf'), { folder: join(folder, 'no'), maxSplitBytes: 1 }),
      'IO',
      'ENOENT',
    );
    const [first, second] = await splitGgufFile(join(folder, 'whole.gguf'), { folder: parts, maxSplitBytes: 1 });
    await rm(join(parts, second as string));
    await expectFailure(
      () => mergeGgufSplits(join(parts, first as string), join(folder, 'out')),
      'IO',
      second as string,
    );
    expect(await readdir(folder)).toEqual(['parts', 'whole.gguf', 'x.safetensors']);
    await expectFailure(
      () =>
        splitGgufFile(join(folder, 'whole.gguf'), {
          folder: parts,
          baseName: 'other',
          maxSplitBytes: 1,
          signal: AbortSignal.abort(),
        }),
      'ABORTED',
    );
    expect((await readdir(parts)).filter((name) => name.includes('other') || name.endsWith('.partial'))).toEqual([]);
  });

  it.skipIf(!oracleAvailable() || !hasSharedModels)(
    'run in llama.cpp like the whole file (skipped where its libraries or the shared models are absent)',
    async () => {
      const path = join(folder, 'wren.gguf');
      await writeFile(path, await wrenGguf());
      const [first] = await splitGgufFile(path, { folder: join(folder, 'parts'), maxSplitBytes: 4e6 });
      const splitPath = join(folder, 'parts', first as string);
      expect((await readdir(join(folder, 'parts'))).length).toBeGreaterThan(2);
      expect(await llamaDescribe(splitPath)).toEqual(await llamaDescribe(path));
      const windows = [[1, 17, 300, 25, 4000, 7]];
      expect(await llamaLosses(splitPath, windows)).toEqual(await llamaLosses(path, windows));
    },
  );
});

async function wrenGguf(): Promise<Uint8Array> {
  const model = await openCheckpointPath(sharedModel('wren-5m'));
  const json = async (name: string) => JSON.parse(await readFile(sharedModel('wren-5m', name), 'utf8'));
  const plan = huggingFaceToGguf({
    configJson: await json('config.json'),
    tensors: model.tensors,
    tokenizerJson: await json('tokenizer.json'),
  });
  const tensors = plan.tensors.map(({ ggufName, hfName, transform }) => {
    const lazy = model.tensors.get(hfName);
    if (lazy === undefined) throw new Error(`wren-5m has no ${hfName}`);
    return { name: ggufName, dtype: 'f32', shape: lazy.shape, lazy: applyGgufTransform(lazy, transform) } as const;
  });
  const sink = memorySink();
  await writeGguf(sink, tensors, {
    metadata: plan.metadata,
    // llama.cpp wants norms in float32.
    data: async ({ name }) => {
      const { lazy } = tensors.find((each) => each.name === name) as (typeof tensors)[number];
      const values = decode((await lazy.read()) as PackedTensor<DType>);
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  });
  await model.close();
  return sink.bytes();
}

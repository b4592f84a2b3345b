import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { arrayBufferSource, blobSource, memorySink, safetensors } from '../src/index.js';
import { fileSink, fileSource } from '../src/node.js';
import { expectFailure, fillBytes, rawSafetensors } from './support/files.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-files-'));
});
afterAll(() => rm(folder, { recursive: true }));

const bytes = fillBytes('file', 5000);

describe('sources', () => {
  it('give exactly the bytes of a range', async () => {
    const path = join(folder, 'plain');
    await writeFile(path, bytes);
    const padded = new Uint8Array(6000);
    padded.set(bytes, 500);
    const sources = [
      await fileSource(path),
      blobSource(new Blob([new Uint8Array(bytes)])),
      arrayBufferSource(bytes.slice().buffer),
      arrayBufferSource(padded.subarray(500, 5500)),
      arrayBufferSource(new DataView(padded.buffer, 500, 5000)),
    ];
    for (const source of sources) {
      expect(source.size).toBe(5000);
      for (const [start, end] of [
        [0, 5000],
        [0, 0],
        [5000, 5000],
        [17, 4711],
      ] as const) {
        expect(await source.read(start, end)).toEqual(bytes.slice(start, end));
      }
      for (const [start, end] of [
        [-1, 1],
        [0, 5001],
        [3, 2],
        [0.5, 1],
        [0, Number.NaN],
      ] as const) {
        await expectFailure(() => source.read(start, end), 'RANGE', '5000');
      }
      await expectFailure(() => source.read(0, 10, { signal: AbortSignal.abort() }), 'ABORTED');
      await source.close?.();
    }
  });

  it('read into a given array, in shared memory too', async () => {
    const path = join(folder, 'into');
    await writeFile(path, bytes);
    for (const source of [
      await fileSource(path),
      blobSource(new Blob([new Uint8Array(bytes)])),
      arrayBufferSource(bytes),
    ]) {
      for (const buffer of [new ArrayBuffer(5002), new SharedArrayBuffer(5002)]) {
        const into = new Uint8Array(buffer, 1, 300);
        expect(await source.read(40, 340, { into })).toBe(into);
        expect([...into]).toEqual([...bytes.subarray(40, 340)]);
        expect([...new Uint8Array(buffer, 301)].every((byte) => byte === 0)).toBe(true);
        for (const length of [299, 301]) {
          const other = new Uint8Array(buffer, 0, length);
          await expectFailure(() => source.read(40, 340, { into: other }), 'RANGE', String(length), '300');
        }
      }
      await source.close?.();
    }
  });

  it('name what cannot be opened', async () => {
    await expectFailure(() => fileSource(join(folder, 'missing')), 'IO', 'missing', 'ENOENT');
    await expectFailure(() => fileSource(folder), 'IO', folder, 'regular file');
  });

  it('notice a file that became shorter, and one that was closed', async () => {
    const path = join(folder, 'shrinking');
    await writeFile(path, bytes);
    const source = await fileSource(path);
    await truncate(path, 100);
    await expectFailure(() => source.read(50, 5000), 'IO', 'byte 100', 'changed');
    await source.close?.();
    await source.close?.();
    await expectFailure(() => source.read(0, 10), 'IO', 'closed');
  });

  it('read rows beyond 4 GiB', async () => {
    const path = join(folder, 'large.safetensors');
    const rows = 5 * 1024;
    const header = rawSafetensors(
      `{"w":{"dtype":"U8","shape":[${rows},1048576],"data_offsets":[0,${rows * 2 ** 20}]}}`,
    );
    // A sparse file: its holes take no room on the disk.
    const handle = await open(path, 'w');
    await handle.write(header);
    await handle.truncate(header.length + rows * 2 ** 20);
    await handle.write(Uint8Array.of(42), 0, 1, header.length + 4500 * 2 ** 20 + 7);
    await handle.close();
    const checkpoint = await safetensors.open(await fileSource(path));
    expect(checkpoint.byteLength).toBeGreaterThan(2 ** 32);
    const row = await checkpoint.tensors.get('w')?.read({ start: 4500, end: 4501 });
    expect(row?.bytes.length).toBe(2 ** 20);
    expect(row?.bytes[7]).toBe(42);
    await checkpoint.close();
    await rm(path);
  });
});

describe('fileSink', () => {
  it('shows the file under its name only when it is whole', async () => {
    const path = join(folder, 'whole');
    const sink = await fileSink(path, { expectedBytes: 5000 });
    await sink.write(bytes.subarray(0, 3000));
    expect(sink.position).toBe(3000);
    expect((await readdir(folder)).filter((name) => name.startsWith('whole'))).toEqual(['whole.partial']);
    await sink.write(bytes.subarray(3000));
    await sink.commit();
    expect((await readdir(folder)).filter((name) => name.startsWith('whole'))).toEqual(['whole']);
    expect(new Uint8Array(await readFile(path))).toEqual(bytes);
    await sink.abort();
    expect(new Uint8Array(await readFile(path))).toEqual(bytes);
    await expectFailure(() => sink.write(bytes), 'IO', 'committed');
  });

  it('leaves nothing behind after abort, and an earlier file as it was', async () => {
    const path = join(folder, 'kept');
    await writeFile(path, 'before');
    const sink = await fileSink(path);
    await sink.write(bytes);
    await sink.abort();
    await sink.abort();
    expect((await readdir(folder)).filter((name) => name.startsWith('kept'))).toEqual(['kept']);
    expect(await readFile(path, 'utf8')).toBe('before');
    await expectFailure(() => sink.commit(), 'IO', 'aborted');
  });

  it('refuses folders that are missing and disks that are too small', async () => {
    await expectFailure(() => fileSink(join(folder, 'no', 'file')), 'IO', 'ENOENT');
    await expectFailure(() => fileSink(join(folder, 'no', 'file'), { expectedBytes: 1 }), 'IO', 'ENOENT');
    await expectFailure(
      () => fileSink(join(folder, 'huge'), { expectedBytes: 2 ** 60 }),
      'IO',
      'huge',
      String(2 ** 60),
    );
    expect(await readdir(folder)).not.toContain('huge.partial');
  });

  it('cleans up when the rename fails', async () => {
    const path = join(folder, 'occupied');
    await mkdir(join(path, 'inner'), { recursive: true });
    const sink = await fileSink(path);
    await sink.write(bytes);
    await expectFailure(() => sink.commit(), 'IO', 'occupied');
    await sink.abort();
    expect(await readdir(folder)).not.toContain('occupied.partial');
  });
});

describe('memorySink', () => {
  it('keeps what was written, not the buffers of the writer', async () => {
    const sink = memorySink();
    const buffer = Uint8Array.of(1, 2);
    await sink.write(buffer);
    buffer.fill(9);
    await sink.write(buffer);
    await expectFailure(() => sink.bytes(), 'IO');
    await sink.commit();
    expect(sink.bytes()).toEqual(Uint8Array.of(1, 2, 9, 9));
    await expectFailure(() => sink.write(buffer), 'IO', 'committed');
  });
});

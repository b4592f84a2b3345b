import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteSink, TensorEntry } from '@halftone/tensor';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type GgufMetadataEntry,
  memorySink,
  type SinkFactory,
  writeGguf,
  writeGgufSplits,
  writeImatrixDat,
  writeImatrixGguf,
  writeSafetensors,
  writeSafetensorsShards,
} from '../src/index.js';
import { editGgufMetadata, fileSink, mergeGgufSplits, splitGgufFile } from '../src/node.js';
import { entryBytes, expectFailure, ggufFile } from './support/files.js';

/** A disk that is full after so many bytes written, or says so beforehand. */
const disk = vi.hoisted(() => ({ left: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY, broken: '' }));
vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const full = () => Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  return {
    ...fs,
    async statfs(path: string) {
      return { ...(await fs.statfs(path)), bavail: disk.free, bsize: 1 };
    },
    async rename(from: string, to: string) {
      if (disk.broken !== '' && to.endsWith(disk.broken)) throw full();
      return fs.rename(from, to);
    },
    async copyFile(from: string, to: string, mode: number) {
      if ((await fs.stat(from)).size > disk.left) {
        await fs.writeFile(to, 'half');
        throw full();
      }
      return fs.copyFile(from, to, mode);
    },
    async open(...args: Parameters<typeof fs.open>) {
      const handle = await fs.open(...args);
      const write = handle.write.bind(handle);
      handle.write = (async (bytes: Uint8Array, from: number, length: number, position: number) => {
        const room = Math.min(length, disk.left);
        if (room === 0) throw full();
        disk.left -= room;
        return write(bytes, from, room, position);
      }) as typeof handle.write;
      return handle;
    },
  };
});

let folder: string;
beforeEach(async () => {
  Object.assign(disk, { left: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY, broken: '' });
  folder = await mkdtemp(join(tmpdir(), 'halftone-writers-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const TENSORS = ['a', 'b', 'c'].map((name): TensorEntry => ({ name, dtype: 'f32', shape: [10, 10] }));
const METADATA: GgufMetadataEntry[] = [{ key: 'general.name', type: 'string', value: 'x' }];
const IMATRIX = {
  datasets: [],
  entries: new Map([['w', { sums: new Float32Array(300), counts: Float64Array.of(1) }]]),
};
const sink = (name: string, expectedBytes?: number) => fileSink(join(folder, name), { expectedBytes });
const createSink: SinkFactory = (name, _bytes, remaining) => sink(name, remaining);
const data = entryBytes;

/** Every writer, the names it writes to, and what it needs to be there. */
const WRITERS: Record<string, { names: string[]; write: () => Promise<unknown>; prepare?: () => Promise<void> }> = {
  writeSafetensors: {
    names: ['out'],
    write: async () => writeSafetensors(await sink('out', 1200), TENSORS, { data }),
  },
  writeGguf: {
    names: ['out'],
    write: async () => writeGguf(await sink('out', 1200), TENSORS, { data, metadata: METADATA }),
  },
  writeImatrixDat: { names: ['out'], write: async () => writeImatrixDat(await sink('out', 1200), IMATRIX) },
  writeImatrixGguf: { names: ['out'], write: async () => writeImatrixGguf(await sink('out', 1200), IMATRIX) },
  writeSafetensorsShards: {
    names: [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`).concat('model.safetensors.index.json'),
    write: () => writeSafetensorsShards(TENSORS, { data, createSink, maxShardBytes: 400 }),
  },
  writeGgufSplits: {
    names: [1, 2, 3].map((n) => `m-0000${n}-of-00003.gguf`),
    write: () => writeGgufSplits(TENSORS, { data, createSink, metadata: METADATA, baseName: 'm', maxSplitBytes: 400 }),
  },
  splitGgufFile: {
    names: [1, 2, 3].map((n) => `m-0000${n}-of-00003.gguf`),
    prepare: async () => writeFile(join(folder, 'in', 'whole.gguf'), await ggufFile(TENSORS, METADATA)),
    write: () => splitGgufFile(join(folder, 'in', 'whole.gguf'), { folder, baseName: 'm', maxSplitBytes: 400 }),
  },
  mergeGgufSplits: {
    names: ['out'],
    prepare: async () => {
      await writeFile(join(folder, 'in', 'whole.gguf'), await ggufFile(TENSORS, METADATA));
      await splitGgufFile(join(folder, 'in', 'whole.gguf'), { folder: join(folder, 'in'), maxSplitBytes: 400 });
    },
    write: () => mergeGgufSplits(join(folder, 'in', 'model-00001-of-00003.gguf'), join(folder, 'out')),
  },
  'editGgufMetadata, copied': {
    names: ['out'],
    prepare: async () => writeFile(join(folder, 'in', 'whole.gguf'), await ggufFile(TENSORS, METADATA)),
    write: () => edit('long '.repeat(50)),
  },
  'editGgufMetadata, cloned': {
    names: ['out'],
    prepare: async () => writeFile(join(folder, 'in', 'whole.gguf'), await ggufFile(TENSORS, METADATA)),
    write: () => edit('y'),
  },
};

function edit(name: string) {
  const set: GgufMetadataEntry[] = [{ key: 'general.name', type: 'string', value: name }];
  return editGgufMetadata(join(folder, 'in', 'whole.gguf'), { set }, { out: join(folder, 'out') });
}

async function contents(): Promise<Map<string, string>> {
  const names = (await readdir(folder)).filter((name) => name !== 'in');
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'hex')] as const)),
  );
}

describe.each(Object.entries(WRITERS))('%s', (_name, { names, prepare, write }) => {
  async function oldFiles(): Promise<Map<string, string>> {
    await mkdir(join(folder, 'in'));
    await prepare?.();
    for (const name of names) await writeFile(join(folder, name), `old ${name}`);
    return contents();
  }

  it('leaves the old files when the disk is full, wherever that is noticed', async () => {
    const before = await oldFiles();
    let written = 0;
    // Up to what the whole set takes: the last round succeeds.
    for (let room = 0; ; room = room * 2 + 40) {
      disk.left = room;
      const failed = await write().then(
        () => false,
        (error) => {
          expect(error).toMatchObject({
            name: 'HalftoneError',
            code: 'IO',
            message: expect.stringContaining('ENOSPC'),
          });
          return true;
        },
      );
      if (!failed) break;
      expect(await contents()).toEqual(before);
      written++;
    }
    expect(written).toBeGreaterThan(2);
    const after = await contents();
    expect([...after.keys()].sort()).toEqual([...names].sort());
    for (const name of names) expect(after.get(name)).not.toBe(before.get(name));
  });

  it('does not begin when the disk has too little room', async () => {
    const before = await oldFiles();
    disk.free = 1199;
    disk.left = 0;
    await expectFailure(write, 'IO', '1199 free');
    expect(await contents()).toEqual(before);
  });

  it('leaves nothing half done when the finished file cannot be put in place', async () => {
    const before = await oldFiles();
    disk.broken = names[0] as string;
    await expectFailure(write, 'IO', 'ENOSPC');
    expect(await contents()).toEqual(before);
  });
});

describe('writers', () => {
  const failing = (): ByteSink & { aborted: number } => ({
    position: 0,
    aborted: 0,
    write: () => Promise.reject(new Error('cannot write')),
    commit: () => Promise.reject(new Error('cannot commit')),
    abort() {
      this.aborted++;
      return Promise.reject(new Error('cannot abort'));
    },
  });

  it('give the first reason, also where cleaning up fails', async () => {
    for (const write of [
      (to: ByteSink) => writeSafetensors(to, TENSORS, { data }),
      (to: ByteSink) => writeGguf(to, TENSORS, { data, metadata: [] }),
      (to: ByteSink) => writeImatrixDat(to, IMATRIX),
      (to: ByteSink) => writeImatrixGguf(to, IMATRIX),
      (to: ByteSink) => writeGgufSplits(TENSORS, { data, metadata: [], maxSplitBytes: 1, createSink: () => to }),
    ]) {
      const to = failing();
      await expect(write(to)).rejects.toThrow('cannot write');
      expect(to.aborted).toBeGreaterThan(0);
    }
  });

  it('abort the sink when what they should write is refused', async () => {
    const twice = [...TENSORS, ...TENSORS];
    const bad = { datasets: [], entries: new Map([['w', { sums: new Float32Array(0), counts: Float64Array.of(1) }]]) };
    for (const write of [
      (to: ByteSink) => writeSafetensors(to, twice, { data }),
      (to: ByteSink) => writeGguf(to, twice, { data, metadata: [] }),
      (to: ByteSink) => writeImatrixDat(to, bad),
      (to: ByteSink) => writeImatrixGguf(to, bad),
    ]) {
      const to = memorySink();
      await expectFailure(() => write(to), 'FORMAT');
      await expectFailure(() => to.commit(), 'IO', 'aborted');
    }
  });

  it('count every file of a set when they ask for room', async () => {
    const asked: number[][] = [];
    await writeGgufSplits(TENSORS, {
      data,
      metadata: METADATA,
      maxSplitBytes: 400,
      createSink: (_name, ...bytes) => {
        asked.push(bytes);
        return memorySink();
      },
    });
    const sizes = asked.map(([own]) => own as number);
    expect(asked.map(([, remaining]) => remaining)).toEqual(
      sizes.map((_, i) => sizes.slice(i).reduce((a, b) => a + b)),
    );
  });
});

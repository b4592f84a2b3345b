import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { outputFile, outputFolder } from '../src/file-output.js';

const job = { fingerprint: 'a', files: [{ name: 'x.bin', byteLength: 6 }] };
const always = { syncBytes: 0 };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'halftone-output-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('outputFile', () => {
  it('shows the file only after commit, and leaves nothing else', async () => {
    const path = join(folder, 'x.bin');
    const output = outputFile(path);
    expect(await output.begin(job)).toEqual([]);
    await output.write(0, 3, new Uint8Array([4, 5, 6]));
    await output.write(0, 0, new Uint8Array([1, 2, 3]));
    expect(await readdir(folder)).not.toContain('x.bin');
    await output.commit();
    expect(await readdir(folder)).toEqual(['x.bin']);
    expect([...(await readFile(path))]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('gives the finished records back to the same job, and ignores a record cut short', async () => {
    const path = join(folder, 'x.bin');
    const first = outputFile(path, always);
    await first.begin(job);
    await first.write(0, 0, new Uint8Array([1, 2, 3]));
    await first.finishPiece({ piece: 0 });
    await first.suspend();
    await writeFile(`${path}.partial.journal`, '{"piece":', { flag: 'a' });

    const second = outputFile(path, always);
    expect(await second.begin(job)).toEqual([{ piece: 0 }]);
    await second.write(0, 3, new Uint8Array([4, 5, 6]));
    await second.commit();
    expect([...(await readFile(path))]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('starts afresh for another job', async () => {
    const path = join(folder, 'x.bin');
    const first = outputFile(path, always);
    await first.begin(job);
    await first.write(0, 0, new Uint8Array([9]));
    await first.finishPiece({ piece: 0 });
    await first.suspend();
    const second = outputFile(path);
    expect(await second.begin({ ...job, fingerprint: 'b' })).toEqual([]);
    await second.commit();
    expect([...(await readFile(path))]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('keeps the old file when the work is discarded', async () => {
    const path = join(folder, 'x.bin');
    await writeFile(path, 'old');
    const output = outputFile(path);
    await output.begin(job);
    await output.write(0, 0, new Uint8Array([1]));
    await output.discard();
    expect(await readdir(folder)).toEqual(['x.bin']);
    expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('says what is wrong when the folder is missing or the disk too small', async () => {
    await expect(outputFile(join(folder, 'no', 'x.bin')).begin(job)).rejects.toMatchObject({ code: 'IO' });
    const huge = { fingerprint: 'a', files: [{ name: 'x', byteLength: Number.MAX_SAFE_INTEGER }] };
    await expect(outputFile(join(folder, 'x.bin')).begin(huge)).rejects.toThrow(/free some space/);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('outputFolder', () => {
  it('publishes all files at once and refuses to replace a folder', async () => {
    const path = join(folder, 'model');
    const output = outputFolder(path);
    await output.begin({
      fingerprint: 'a',
      files: [
        { name: 'a', byteLength: 1 },
        { name: 'b', byteLength: 2 },
      ],
    });
    await output.write(1, 0, new Uint8Array([7, 8]));
    await output.commit();
    expect((await readdir(path)).sort()).toEqual(['a', 'b']);
    expect([...(await readFile(join(path, 'b')))]).toEqual([7, 8]);
    await expect(outputFolder(path).begin(job)).rejects.toThrow(/exists already/);
  });
});

import { readdir, readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { generatedFiles } from '../kernels/compile.js';

const folder = new URL('../src/generated/', import.meta.url);

it('src/generated is what the sources in kernels/ give', async () => {
  const files = await generatedFiles();
  expect((await readdir(folder)).sort()).toEqual([...files.keys()].sort());
  for (const [name, contents] of files) {
    expect((await readFile(new URL(name, folder), 'utf8')) === contents, `${name} is current`).toBe(true);
  }
}, 240_000);

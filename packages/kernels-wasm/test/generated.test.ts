import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { generatedFile } from '../kernels/compile.js';

describe.each(['simd', 'relaxed'] as const)('src/generated/%s.ts', (build) => {
  it('is what the sources in kernels/ give', async () => {
    const file = await readFile(new URL(`../src/generated/${build}.ts`, import.meta.url), 'utf8');
    expect(await generatedFile(build)).toBe(file);
  }, 120_000);
});

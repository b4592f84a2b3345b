import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

describe('memory over 1000 tokens of wren-5m', () => {
  it('grows by less than 1 MB', async () => {
    const script = fileURLToPath(new URL('decode-memory.ts', import.meta.url));
    const flags = ['--expose-gc', '--conditions=halftone-source', '--import', 'tsx'];
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, script]);
    const { forward, generation } = JSON.parse(stdout) as { forward: number; generation: number };
    expect(forward).toBeLessThan(1e6);
    expect(generation).toBeLessThan(1e6);
  });
});

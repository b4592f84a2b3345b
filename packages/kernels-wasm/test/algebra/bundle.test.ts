import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { simd } from '../../src/generated/algebra-simd.js';

async function bundled(name: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { ${name} } from './src/index.js';`,
      resolveDir: new URL('../..', import.meta.url).pathname,
    },
    ...{ bundle: true, write: false, format: 'esm', conditions: ['halftone-source'], logLevel: 'silent' },
  });
  return outputFiles[0].text;
}

it('is not part of a bundle that takes the backend alone', async () => {
  expect(await bundled('wasmBackend')).not.toContain(simd);
  expect(await bundled('linearAlgebra')).toContain(simd);
});

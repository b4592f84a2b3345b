/** Writes src/generated. Run: pnpm --filter @halftone/kernels-wasm generate */
import { writeFile } from 'node:fs/promises';
import { generatedFile } from './compile.js';

for (const build of ['simd', 'relaxed'] as const) {
  await writeFile(new URL(`../src/generated/${build}.ts`, import.meta.url), await generatedFile(build));
}

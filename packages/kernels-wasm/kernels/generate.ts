/** Writes src/generated. Run: pnpm --filter @halftone/kernels-wasm generate */
import { writeFile } from 'node:fs/promises';
import { generatedFiles } from './compile.js';

for (const [name, contents] of await generatedFiles()) {
  await writeFile(new URL(`../src/generated/${name}`, import.meta.url), contents);
}

/** Writes test/fixtures/mixtures.json from real runs of llama.cpp: pnpm --filter @halftone/quantizers record-mixtures */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { llamaTypes, MIXTURE_CASES } from './mixture-models.js';

const cases: Record<string, unknown> = {};
for (const testCase of MIXTURE_CASES) cases[testCase.name] = await llamaTypes(testCase);
const file = {
  command: 'pnpm --filter @halftone/quantizers record-mixtures',
  library: '@node-llama-cpp/linux-x64 3.22.1',
  cases,
};
await writeFile(join(import.meta.dirname, 'fixtures/mixtures.json'), `${JSON.stringify(file, null, 1)}\n`);

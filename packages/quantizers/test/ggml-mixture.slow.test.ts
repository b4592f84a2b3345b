import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { oracleAvailable } from '@halftone/llama-cpp-oracle';
import { describe, expect, it } from 'vitest';
import { llamaTypes, MIXTURE_CASES } from './mixture-models.js';

const RECORDED = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/mixtures.json'), 'utf8'));

describe.skipIf(!oracleAvailable())(
  'recorded mixtures are what llama.cpp does (needs its libraries for linux-x64)',
  () => {
    for (const testCase of MIXTURE_CASES) {
      it(testCase.name, async () => {
        expect(await llamaTypes(testCase)).toEqual(RECORDED.cases[testCase.name]);
      });
    }
  },
);

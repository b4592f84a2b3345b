import { oracleAvailable } from '@halftone/llama-cpp-oracle';
import { describe, expect, it } from 'vitest';
import { comparedRows, compareErrors, exampleImportance } from './lattice-cases.js';
import { BOOKWORM } from './weights.js';

const needsOracle = oracleAvailable() ? '' : ' (needs llama.cpp libraries for linux-x64)';
const needsModel = BOOKWORM === undefined ? ' (without bookworm-29m, which is not there)' : '';

describe.skipIf(!oracleAvailable())(`errors that ggml's encoders minimise${needsOracle}${needsModel}`, () => {
  for (const type of ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S'] as const) {
    it(`${type}: at most 1.01 times ggml's`, () => {
      for (const rows of comparedRows()) {
        // ggml encodes the others with importance only.
        const plain = type === 'IQ1_M' || type === 'IQ2_S' ? [undefined] : [];
        for (const importance of [...plain, exampleImportance(rows.columns)]) {
          const { ours, theirs } = compareErrors(type, rows, importance);
          expect(ours, rows.name).toBeLessThanOrEqual(1.01 * theirs);
        }
      }
    });
  }
});

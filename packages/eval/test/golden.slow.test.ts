import { PROTOCOLS, perplexity, transformerLogits } from '@halftone/eval';
import { createModel } from '@halftone/transformer';
import { describe, expect, it } from 'vitest';
import { golden, hasModels, heldOutTokens, needsModels, openTestModel } from './real-models.js';

describe.skipIf(!hasModels)(`mean loss against transformers${needsModels}`, () => {
  it('wren-5m, first eight windows', async () => {
    const name = 'wren-5m';
    const source = await openTestModel(name);
    const model = await createModel(source);
    const tokens = heldOutTokens(source, 50 * source.config.contextLength);
    const result = await perplexity(transformerLogits(model), tokens, PROTOCOLS.disjoint, { maxWindows: 8 });
    expect(result.windows).toBe(8);
    const expected = golden(name).firstWindowsMeanNll;
    result.windowNlls.forEach((nll, window) => {
      expect(Math.abs(nll - expected[window]), `window ${window}`).toBeLessThan(0.001);
    });
    expect(result.meanNll).toBeCloseTo(result.windowNlls.reduce((sum, nll) => sum + nll, 0) / 8, 9);
    await model.dispose();
    await source.close();
  });
});

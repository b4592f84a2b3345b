import { planGainFold, planLayerNormToRmsNorm } from '@halftone/norms';
import { createModel } from '@halftone/transformer';
import { describe, expect, it } from 'vitest';
import {
  createEdited,
  goldenTokens,
  hasModels,
  largestDifference,
  logits,
  needsModels,
  openTestModel,
} from './real-models.js';

describe.skipIf(!hasModels)(`folds of a LayerNorm model${needsModels}`, () => {
  it('bookworm-gpt2-14m with RMSNorm in place of LayerNorm gives the same logits', async () => {
    const source = await openTestModel('bookworm-gpt2-14m');
    const plan = planLayerNormToRmsNorm(source.graph, { untieHead: 'lm_head.weight' });
    expect(plan.report.map(({ legal }) => legal)).toEqual(Array(13).fill(true));
    expect(
      [...plan.graph.blocks.flatMap(({ norms }) => norms), plan.graph.finalNorm].every(({ kind }) => kind === 'rms'),
    ).toBe(true);
    const tokens = await goldenTokens('bookworm-gpt2-14m');
    const before = await logits(await createModel(source), tokens);
    expect(largestDifference(await logits(await createEdited(source, [plan]), tokens), before)).toBeLessThan(1e-3);
    const folded = await createEdited(source, [plan, planGainFold(plan.graph)]);
    expect(largestDifference(await logits(folded, tokens), before)).toBeLessThan(1e-3);
    // Without the centring it is another function: the test would see a fold that does nothing.
    const uncentred = await createEdited(source, [
      { ...plan, edits: plan.edits.filter(({ type }) => type !== 'center') },
    ]);
    expect(largestDifference(await logits(uncentred, tokens), before)).toBeGreaterThan(0.1);
    await source.close();
  });
});

import { describe, expect, it } from 'vitest';
import { createModel } from '../src/index.js';
import { openModel } from '../src/node.js';
import { golden, goldenLogits, hasShared, heldOutTokens, meanNll, needsShared, shared } from './shared-models.js';

describe.skipIf(!hasShared)(`against transformers${needsShared}`, () => {
  it.each(['wren-5m', 'bookworm-29m', 'bookworm-gpt2-14m'])('%s gives the reference logits', async (name) => {
    const source = await openModel(shared(`models/${name}`));
    const model = await createModel(source);
    const { inputIds, last4 } = await goldenLogits(name);
    const { data, shape } = await model.forward(inputIds, { from: inputIds.length - 4 });
    expect(shape).toEqual([4, source.config.vocabSize]);
    let worst = 0;
    last4.forEach((expected, i) => {
      worst = Math.max(worst, Math.abs(data[i] - expected));
    });
    expect(worst).toBeLessThan(0.05);
    await model.dispose();
    await source.close();
  });

  it('wren-5m has the reference loss on the first windows', async () => {
    const source = await openModel(shared('models/wren-5m'));
    const model = await createModel(source);
    const tokens = heldOutTokens(source, 8000);
    const expected = golden('wren-5m').firstWindowsMeanNll;
    for (let window = 0; window < 2; window++) {
      const nll = await meanNll(model, tokens.slice(window * 512, (window + 1) * 512));
      expect(Math.abs(nll - expected[window])).toBeLessThan(0.001);
    }
    await model.dispose();
    await source.close();
  });
});

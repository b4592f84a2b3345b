import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createModel, loadTokenizer } from '../src/index.js';
import { openModel } from '../src/node.js';
import { golden, hasShared, heldOutTokens, meanNll, needsShared, shared } from './shared-models.js';

describe.skipIf(!hasShared)(`whole windows against transformers${needsShared}`, () => {
  it.each([
    ['wren-5m', 512],
    ['bookworm-gpt2-14m', 512],
    ['bookworm-29m', 1024],
  ])('%s has the reference loss on the first eight windows', async (name, window) => {
    const source = await openModel(shared(`models/${name}`));
    const model = await createModel(source);
    const tokens = heldOutTokens(source, 50_000);
    for (const [index, expected] of golden(name).firstWindowsMeanNll.entries()) {
      const nll = await meanNll(model, tokens.slice(index * window, (index + 1) * window));
      expect(Math.abs(nll - expected)).toBeLessThan(0.001);
    }
    await model.dispose();
    await source.close();
  });
});

describe.skipIf(!hasShared)(`llama2.c${needsShared}`, () => {
  // Each story stands alone: trimmed, BOS in front and unscored, no EOS; whole stories until 20,000 tokens are reached.
  it('stories260k has its known loss on 20,000 tokens of TinyStories', async () => {
    const source = await openModel(shared('models/stories260k/stories260K.bin'));
    const model = await createModel(source);
    const tokenizer = loadTokenizer({ tokenizerJson: {}, ...source.tokenizer });
    const stories = readFileSync(shared('data/tinystories-sample.txt'), 'utf8').split('<|endoftext|>');
    let loss = 0;
    let scored = 0;
    let seen = 0;
    for (const story of stories) {
      if (seen >= 20_000) break;
      const tokens = [...tokenizer.encode(story.trim())].slice(0, source.config.contextLength);
      expect(tokens[0]).toBe(1);
      loss += (await meanNll(model, tokens)) * (tokens.length - 1);
      scored += tokens.length - 1;
      seen += tokens.length;
    }
    expect(Math.abs(loss / scored - 1.2958)).toBeLessThan(0.0005);
    await model.dispose();
    await source.close();
  });
});

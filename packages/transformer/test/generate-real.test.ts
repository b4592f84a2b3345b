import { describe, expect, it } from 'vitest';
import { createModel, generateText, loadTokenizer, type TokenizerFiles } from '../src/index.js';
import { openModel } from '../src/node.js';
import { hasShared, needsShared, shared } from './shared-models.js';

describe.skipIf(!hasShared)(`generation with a real model${needsShared}`, () => {
  it('writes the known story at temperature 0, and the same twice with a seed', async () => {
    const source = await openModel(shared('models/stories260k/stories260K.bin'));
    const model = await createModel(source);
    const tokenizer = loadTokenizer(source.tokenizer as TokenizerFiles);
    const story = await generateText(model, tokenizer, tokenizer.encode(''), {
      sampling: { temperature: 0 },
      maxTokens: 40,
    });
    expect(story.text).toContain(
      'Once upon a time, there was a little girl named Lily. She loved to play outside in the park.',
    );
    expect(story.finishReason).toBe('length');
    const sampling = { temperature: 0.8, topK: 50, topP: 0.95, minP: 0.02 };
    const draw = (seed: number) => generateText(model, tokenizer, 'Once upon', { sampling, seed, maxTokens: 20 });
    const first = await draw(1);
    expect(await draw(1)).toEqual(first);
    expect(await draw(2)).not.toEqual(first);
    const stopped = await generateText(model, tokenizer, 'Once upon', {
      sampling: { temperature: 0 },
      stopTexts: ['.'],
    });
    expect(stopped.text).not.toContain('.');
    expect(stopped.finishReason).toBe('stop');
    await model.dispose();
    await source.close();
  });
});

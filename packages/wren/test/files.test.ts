import { readFile, stat } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { calibrationTextUrl, heldoutTextUrl, modelUrl } from '../src/index.js';

describe('wren-5m', () => {
  it('ships a model in the Hugging Face layout', async () => {
    const config = JSON.parse(await readFile(new URL('config.json', modelUrl), 'utf8'));
    const tokenizer = JSON.parse(await readFile(new URL('tokenizer.json', modelUrl), 'utf8'));
    expect(config.model_type).toBe('llama');
    expect(Object.keys(tokenizer.model.vocab)).toHaveLength(config.vocab_size);
    expect((await stat(new URL('model.safetensors', modelUrl))).size).toBeGreaterThan(10_000_000);
  });

  it('ships held-out and calibration texts that share no paragraph', async () => {
    const paragraphs = async (url: URL) =>
      (await readFile(url, 'utf8')).split('\n\n').filter((paragraph) => paragraph.length > 80);
    const heldout = new Set(await paragraphs(heldoutTextUrl));
    const calibration = await paragraphs(calibrationTextUrl);
    expect(heldout.size).toBeGreaterThan(50);
    expect(calibration.filter((paragraph) => heldout.has(paragraph))).toEqual([]);
  });
});

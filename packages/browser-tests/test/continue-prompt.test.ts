import { fileURLToPath } from 'node:url';
import { referenceBackend } from '@halftone/transformer';
import { openModel } from '@halftone/transformer/node';
import { modelUrl } from '@halftone/wren-5m';
import { describe, expect, it } from 'vitest';
import { type ContinueEvent, checkProduct, continuePrompt } from '../src/index.js';

describe('checkProduct', () => {
  it('takes a backend that is right and refuses one that is not', async () => {
    const backend = referenceBackend();
    await expect(checkProduct(backend)).resolves.toBeUndefined();
    const wrong = { ...backend, linear: async (...call: Parameters<typeof backend.linear>) => void call[3].fill(25) };
    await expect(checkProduct(wrong)).rejects.toMatchObject({ code: 'NUMERIC' });
  });
});

describe('continuePrompt', () => {
  it('reports the model, then the text piece by piece', async () => {
    const source = await openModel(fileURLToPath(modelUrl));
    const events: ContinueEvent[] = [];
    const request = { prompt: 'The old house', maxTokens: 6, threads: 1 };
    const result = await continuePrompt(source, request, (event) => events.push(event));
    await source.close();
    expect(events.map(({ kind }) => kind)).toEqual(['loaded', 'text', 'text', 'text', 'text', 'text', 'text']);
    expect(events.map((event) => (event.kind === 'text' ? event.text : '')).join('')).toBe(result.text);
    expect(result).toMatchObject({ tokens: 6, threads: 1 });
    expect(result.text.length).toBeGreaterThan(6);
  });
});

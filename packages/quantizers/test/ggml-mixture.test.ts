import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ggmlFallback, ggmlMixture, MIXTURE_NAMES, type MixtureName } from '../src/index.js';
import { COMPARED_MIXTURES, type CompactTypes, compactTypes, MIXTURE_CASES } from './mixture-models.js';

const RECORDED = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/mixtures.json'), 'utf8')) as {
  cases: Record<string, Record<string, CompactTypes | null>>;
};
const DENSE = { layers: 32, heads: 8, kvHeads: 8, tiedHead: false };

describe('types as llama_model_quantize assigns them (recorded)', () => {
  for (const { name, model, tensors } of MIXTURE_CASES) {
    for (const mixture of COMPARED_MIXTURES) {
      const expected = RECORDED.cases[name]?.[mixture];
      if (expected === null) continue;
      it(`${name}: ${mixture}`, () => {
        const { storageType } = ggmlMixture(mixture);
        const types = tensors.map((tensor) => ({ name: tensor.name, type: storageType(tensor, model) }));
        expect(compactTypes(types)).toEqual(expected);
      });
    }
  }

  it('were refused only where an importance matrix is demanded', () => {
    for (const types of Object.values(RECORDED.cases)) {
      for (const [mixture, assigned] of Object.entries(types)) if (assigned === null) expect(mixture).toBe('Q2_K_S');
    }
  });
});

describe('ggmlMixture', () => {
  it('knows aliases and refuses other names', () => {
    expect(ggmlMixture('Q4_K').name).toBe('Q4_K_M');
    expect(ggmlMixture('Q5_K').name).toBe('Q5_K_M');
    expect(ggmlMixture('Q3_K').name).toBe('Q3_K_M');
    for (const name of ['Q9_K', 'toString', '']) {
      expect(() => ggmlMixture(name as MixtureName)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
  });

  it('keeps vectors, norms, positions and routers in f32 in every mixture', () => {
    for (const name of MIXTURE_NAMES) {
      const { storageType } = ggmlMixture(name);
      expect(storageType({ role: 'norm', shape: [256] }, DENSE)).toBe('f32');
      expect(storageType({ role: 'bias', shape: [256] }, DENSE)).toBe('f32');
      expect(storageType({ role: 'position-embedding', shape: [64, 256] }, DENSE)).toBe('f32');
      expect(storageType({ role: 'mlp.router', shape: [8, 256] }, DENSE)).toBe('f32');
      expect(storageType({ role: 'other', shape: [8, 256] }, DENSE)).toBe(ggmlMixture(name).base);
    }
  });

  it('falls back by row length', () => {
    expect(ggmlFallback('Q4_K', 512)).toBe('Q4_K');
    expect(ggmlFallback('Q4_K', 288)).toBe('Q5_0');
    expect(ggmlFallback('Q5_K', 288)).toBe('Q5_1');
    expect(ggmlFallback('Q6_K', 288)).toBe('Q8_0');
    expect(ggmlFallback('Q3_K', 288)).toBe('Q4_0');
    expect(ggmlFallback('Q2_K', 288)).toBe('Q4_0');
    expect(ggmlFallback('Q8_0', 40)).toBe('f16');
    expect(ggmlFallback('f32', 40)).toBe('f32');
  });
});

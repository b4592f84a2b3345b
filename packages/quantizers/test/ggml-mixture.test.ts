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

  it('were refused only where an importance matrix is demanded or a fallback is missing', () => {
    for (const types of Object.values(RECORDED.cases)) {
      for (const [mixture, assigned] of Object.entries(types)) {
        if (assigned === null) expect(mixture).toMatch(/^(Q2_K_S|IQ1_.*|IQ2_.*|IQ3_XX?S|Q1_0)$/);
      }
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
      expect(storageType({ role: 'other', shape: [8, 256] }, DENSE)).toBe(
        name === 'MXFP4_MOE' ? 'Q8_0' : ggmlMixture(name).base,
      );
    }
  });

  it('stores the matrices of dense models in MXFP4 where llama-quantize has Q8_0', () => {
    const { storageType } = ggmlMixture('MXFP4');
    expect(storageType({ role: 'mlp.down', shape: [8, 256], layer: 0 }, DENSE)).toBe('MXFP4');
    expect(storageType({ role: 'attention.value', shape: [8, 256], layer: 0 }, DENSE)).toBe('MXFP4');
    expect(storageType({ role: 'token-embedding', shape: [8, 256] }, DENSE)).toBe('Q8_0');
    expect(storageType({ role: 'output', shape: [8, 256] }, DENSE)).toBe('Q8_0');
  });

  it('falls back by row length', () => {
    expect(ggmlFallback('Q4_K', 512)).toBe('Q4_K');
    expect(ggmlFallback('Q4_K', 288)).toBe('Q5_0');
    expect(ggmlFallback('Q5_K', 288)).toBe('Q5_1');
    expect(ggmlFallback('Q6_K', 288)).toBe('Q8_0');
    expect(ggmlFallback('Q3_K', 288)).toBe('Q4_0');
    expect(ggmlFallback('Q2_K', 288)).toBe('Q4_0');
    for (const type of ['IQ1_S', 'IQ1_M', 'IQ2_XXS', 'IQ2_XS', 'IQ2_S', 'IQ3_XXS', 'IQ3_S', 'IQ4_XS'] as const) {
      expect(ggmlFallback(type, 288)).toBe('IQ4_NL');
      expect(ggmlFallback(type, 40)).toBe('f16');
    }
    for (const type of ['TQ1_0', 'TQ2_0', 'Q1_0', 'Q2_0', 'NVFP4'] as const) {
      expect(ggmlFallback(type, 96)).toBe('Q4_0');
    }
    expect(ggmlFallback('MXFP4', 40)).toBe('f16');
    expect(ggmlFallback('Q8_0', 40)).toBe('f16');
    expect(ggmlFallback('f32', 40)).toBe('f32');
  });
});

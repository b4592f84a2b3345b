import { createRandom } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greedy, logProbability, penalizeRepetition, sampler, sampleToken, tokenDistribution } from '../src/index.js';

const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);
const tokensOf = (logits: ArrayLike<number>, options = {}) => [...tokenDistribution(logits, options).tokens];

describe('greedy', () => {
  it('takes the largest, the first of equals, and looks past -Infinity', () => {
    expect(greedy([1, 3, 2])).toBe(1);
    expect(greedy([3, 1, 3])).toBe(0);
    expect(greedy([Number.NEGATIVE_INFINITY, -5])).toBe(1);
  });

  it.each([[[Number.NaN, 1]], [[1, Number.NaN]], [[1, Number.POSITIVE_INFINITY]], [[Number.NEGATIVE_INFINITY]], [[]]])(
    'refuses %o',
    (logits) => {
      expect(() => greedy(logits)).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
      expect(() => tokenDistribution(logits)).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
      expect(() => sampleToken(logits, { temperature: 0 }, () => 0)).toThrow(
        expect.objectContaining({ code: 'NUMERIC' }),
      );
    },
  );
});

describe('tokenDistribution', () => {
  const logits = logitsOf(0.1, 0.4, 0.2, 0.3);

  it('is the softmax, most probable first', () => {
    const { tokens, probabilities } = tokenDistribution(logits);
    expect([...tokens]).toEqual([1, 3, 2, 0]);
    for (const [i, p] of [0.4, 0.3, 0.2, 0.1].entries()) expect(probabilities[i]).toBeCloseTo(p, 6);
  });

  it('keeps what each filter says', () => {
    expect(tokensOf(logits, { topK: 2 })).toEqual([1, 3]);
    expect(tokensOf(logits, { topK: 99 })).toEqual([1, 3, 2, 0]);
    expect(tokensOf(logits, { topP: 0.5 })).toEqual([1, 3]);
    expect(tokensOf(logits, { topP: 0.39 })).toEqual([1]);
    expect(tokensOf(logits, { topP: 0 })).toEqual([1]);
    expect(tokensOf(logits, { topP: 1 })).toHaveLength(4);
    expect(tokensOf(logits, { minP: 0.45 })).toEqual([1, 3, 2]);
    expect(tokensOf(logits, { minP: 1 })).toEqual([1]);
    // Top-p counts within what top-k left: 0.4 of 0.7 is enough for 0.55.
    expect(tokensOf(logits, { topK: 2, topP: 0.55 })).toEqual([1]);
  });

  it('never offers a token of probability 0', () => {
    expect(tokensOf([0, Number.NEGATIVE_INFINITY, 1])).toEqual([2, 0]);
    expect(tokensOf([0, Number.NEGATIVE_INFINITY], { topP: 1, topK: 2 })).toEqual([0]);
  });

  it('resolves ties by the smaller id', () => {
    expect(tokensOf([1, 1, 1, 1], { topK: 2 })).toEqual([0, 1]);
    expect(tokensOf([0, 1, 1], { temperature: 0 })).toEqual([1]);
  });

  it('approaches greedy as the temperature falls, and is greedy at 0', () => {
    expect(tokenDistribution(logits, { temperature: 0.01 }).probabilities[0]).toBeGreaterThan(0.999);
    expect(tokensOf(logits, { temperature: 0, topK: 3 })).toEqual([1]);
    expect(tokensOf(logits, { temperature: 1e-300 })).toEqual([1]);
  });

  it('sums to 1 and is sorted whatever the options', () => {
    const options = fc.record({
      temperature: fc.double({ min: 0.01, max: 5, noNaN: true }),
      topK: fc.nat(30),
      topP: fc.double({ min: 0, max: 1, noNaN: true }),
      minP: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const values = fc.array(
      fc.oneof(fc.double({ min: -50, max: 50, noNaN: true }), fc.constant(Number.NEGATIVE_INFINITY)),
      { minLength: 1, maxLength: 20 },
    );
    fc.assert(
      fc.property(values, options, (values, options) => {
        fc.pre(values.some(Number.isFinite));
        const { tokens, probabilities } = tokenDistribution(values, options);
        expect(probabilities.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
        expect(tokens[0]).toBe(greedy(values));
        expect(new Set(tokens).size).toBe(tokens.length);
        for (let i = 1; i < tokens.length; i++) expect(probabilities[i]).toBeLessThanOrEqual(probabilities[i - 1]);
        if (options.topK > 0) expect(tokens.length).toBeLessThanOrEqual(options.topK);
      }),
    );
  });

  it.each([
    { temperature: -1 },
    { temperature: Number.NaN },
    { topK: 1.5 },
    { topK: -1 },
    { topP: 1.1 },
    { minP: -0.1 },
    { repetitionPenalty: 0 },
  ])('refuses %o', (options) => {
    expect(() => tokenDistribution([1, 2], options)).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('treats undefined as not given', () => {
    expect(tokensOf(logits, { topK: undefined, temperature: undefined })).toHaveLength(4);
  });
});

describe('repetition penalty', () => {
  it('makes seen tokens less likely on both sides of zero, once each', () => {
    expect([...penalizeRepetition([2, -2, 1], [0, 1, 1, 99], 2)]).toEqual([1, -4, 1]);
    expect([...tokenDistribution([2, 1.5], { temperature: 0, repetitionPenalty: 2 }, [0]).tokens]).toEqual([1]);
  });
});

describe('sampleToken', () => {
  it('follows the distribution', () => {
    const probabilities = [0.5, 0.25, 0.15, 0.1];
    const random = createRandom(7).uniform;
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    for (let i = 0; i < draws; i++) counts[sampleToken(logitsOf(...probabilities), {}, random)]++;
    const chiSquare = counts.reduce(
      (sum, n, i) => sum + (n - draws * probabilities[i]) ** 2 / (draws * probabilities[i]),
      0,
    );
    // The 99.99 % point of chi-square with 3 degrees of freedom.
    expect(chiSquare).toBeLessThan(21.1);
  });

  it('draws from the distribution with any options, a token for each part of the interval', () => {
    const options = fc.record({
      temperature: fc.double({ min: 0.05, max: 5, noNaN: true }),
      topK: fc.nat(12),
      topP: fc.constantFrom(0, 0.3, 0.9, 1),
      minP: fc.constantFrom(0, 0.05, 0.5, 1),
      repetitionPenalty: fc.constantFrom(1, 1.5),
    });
    const logit = fc.oneof(fc.integer({ min: -8, max: 8 }), fc.constant(Number.NEGATIVE_INFINITY));
    fc.assert(
      fc.property(fc.array(logit, { minLength: 1, maxLength: 40 }), options, fc.nat(39), (logits, options, seen) => {
        fc.pre(logits.some(Number.isFinite));
        const { tokens, probabilities } = tokenDistribution(logits, options, [seen]);
        let start = 0;
        let draw = 0;
        const sample = sampler(options, () => draw);
        for (const [i, token] of tokens.entries()) {
          draw = start + probabilities[i] / 2;
          expect(sample(logits, [seen])).toBe(token);
          expect(sampleToken(logits, options, () => draw, [seen])).toBe(token);
          start += probabilities[i];
        }
      }),
    );
  });

  it('covers the whole interval of random numbers', () => {
    expect(sampleToken(logitsOf(0.5, 0.5), {}, () => 0)).toBe(0);
    expect(sampleToken(logitsOf(0.5, 0.5), {}, () => 1 - 2 ** -53)).toBe(1);
  });

  it('repeats with the same seed and differs with another', () => {
    const draw = (seed: number) => {
      const random = createRandom(seed).uniform;
      return Array.from({ length: 40 }, () => sampleToken(new Float32Array(50), {}, random));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });
});

describe('logProbability', () => {
  it('is the logarithm of the softmax', () => {
    expect(logProbability(logitsOf(0.25, 0.75), 1)).toBeCloseTo(Math.log(0.75), 6);
    expect(logProbability([1000, 0], 0)).toBeCloseTo(0, 12);
    expect(logProbability([0, Number.NEGATIVE_INFINITY], 1)).toBe(Number.NEGATIVE_INFINITY);
  });
});

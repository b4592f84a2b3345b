import { compare, compareMany, estimateMean, PROTOCOLS, perplexity, quantile } from '@halftone/eval';
import { describe, expect, it } from 'vitest';
import { copyPrevious, counting, fakeModel, uniform, unigram } from './fake-models.js';

const protocol = { ...PROTOCOLS.disjoint, window: 10 };

/** Repeatable values between -1 and 1. */
function noise(index: number): number {
  const x = Math.sin(index * 12.9898) * 43758.5453;
  return 2 * (x - Math.floor(x)) - 1;
}

function noisy(vocabularySize: number, scale: number, blockRows = 3) {
  return fakeModel(
    vocabularySize,
    (prefix, out) => {
      for (let i = 0; i < vocabularySize; i++) {
        out[i] = 3 * noise(i + 31 * prefix[prefix.length - 1]) + scale * noise(i + 977 * prefix.length);
      }
    },
    { blockRows },
  );
}

describe('compare', () => {
  it('gives the closed form of the divergence of two unigram models', async () => {
    const p = [0.5, 0.3, 0.2];
    const q = [0.2, 0.2, 0.6];
    const report = await compare(unigram(p), unigram(q), counting(40, 3), protocol);
    const kl = p.reduce((sum, pi, i) => sum + pi * Math.log(pi / q[i]), 0);
    expect(report.kl.mean).toBeCloseTo(kl, 6);
    expect(report.kl.p50).toBeCloseTo(kl, 6);
    expect(report.kl.standardError).toBeCloseTo(0, 9);
    expect(report.sameTop1).toBe(0);
    expect(report.lnPerplexityRatio.mean).toBeCloseTo(report.meanNll - report.baseline.meanNll, 9);
  });

  it('skips tokens that the baseline rules out and reports infinity for those only the other does', async () => {
    const half = unigram([0.5, 0.5, 0]);
    const third = unigram([1 / 3, 1 / 3, 1 / 3]);
    expect((await compare(half, third, counting(20, 2), protocol)).kl.mean).toBeCloseTo(Math.log(1.5), 6);
    expect((await compare(half, half, counting(20, 2), protocol)).kl.mean).toBe(0);
    expect((await compare(third, half, counting(20, 2), protocol)).kl.mean).toBe(Number.POSITIVE_INFINITY);
  });

  it('finds nothing between a model and itself', async () => {
    const report = await compare(noisy(40, 0.5), noisy(40, 0.5, 7), counting(100, 40), protocol);
    expect(report.kl).toMatchObject({ mean: 0, standardError: 0, min: 0, p99: 0, max: 0 });
    expect(report.sameTop1).toBe(1);
    expect(report.deltaP.rms).toBe(0);
    expect(report.lnPerplexityRatio.standardError).toBe(0);
    expect(report.nllCorrelation).toBeCloseTo(1, 12);
    expect(report.perplexity).toBe(report.baseline.perplexity);
  });

  it('is not changed by adding a constant to all logits', async () => {
    const shifted = fakeModel(3, (_, out) => out.set([0.5, 0.3, 0.2].map((p) => Math.log(p) + 64)));
    const report = await compare(unigram([0.5, 0.3, 0.2]), shifted, counting(40, 3), protocol);
    expect(Math.abs(report.kl.mean)).toBeLessThan(1e-6);
    expect(report.sameTop1).toBe(1);
  });

  it('orders models by their distance and gives ordered percentiles', async () => {
    const base = noisy(40, 0);
    const [near, far] = await compareMany(base, [noisy(40, 0.2), noisy(40, 1)], counting(400, 40), protocol);
    expect(near.kl.mean).toBeGreaterThan(0);
    expect(far.kl.mean).toBeGreaterThan(near.kl.mean);
    expect(far.sameTop1).toBeLessThan(near.sameTop1);
    const { min, p50, p90, p95, p99, p99_9, max } = far.kl;
    const percentiles = [min, p50, p90, p95, p99, p99_9, max];
    expect(percentiles).toEqual(percentiles.slice().sort((a, b) => a - b));
  });

  it('runs the baseline once for many models, with the results of one by one', async () => {
    const base = noisy(20, 0, 5);
    const others = [noisy(20, 0.3, 2), noisy(20, 0.6, 4)];
    const together = await compareMany(base, others, counting(60, 20), protocol);
    expect(base.inputs).toHaveLength(6);
    for (const [k, other] of others.entries()) {
      expect(together[k]).toEqual(await compare(base, other, counting(60, 20), protocol));
      const alone = await perplexity(other, counting(60, 20), protocol);
      expect(together[k].meanNll).toBeCloseTo(alone.meanNll, 12);
    }
  });

  it('gives the paired difference a smaller error than either perplexity', async () => {
    const report = await compare(noisy(40, 0), noisy(40, 0.1), counting(400, 40), protocol);
    expect(report.lnPerplexityRatio.standardError * 5).toBeLessThan(report.standardError / report.perplexity);
  });

  it('has the JSON fields of the command line', async () => {
    const report = JSON.parse(JSON.stringify(await compare(noisy(20, 0), noisy(20, 1), counting(60, 20), protocol)));
    expect(report).toMatchObject({
      protocol: { name: 'disjoint', window: 10 },
      windows: 6,
      scoredTokens: 54,
      meanNll: expect.any(Number),
      perplexity: expect.any(Number),
      baseline: { meanNll: expect.any(Number), perplexity: expect.any(Number) },
      kl: { mean: expect.any(Number), standardError: expect.any(Number), p99: expect.any(Number) },
      sameTop1: expect.any(Number),
    });
  });

  it('refuses models that cannot be compared, and names the one with NaN', async () => {
    const tokens = counting(40, 4);
    await expect(compare(uniform(4), uniform(5), tokens, protocol)).rejects.toThrow(/5 tokens and the baseline 4/);
    await expect(compare(uniform(4), uniform(4, { contextLength: 8 }), tokens, protocol)).rejects.toThrow(
      /context of 8/,
    );
    const broken = fakeModel(4, (_, out) => out.fill(Number.NaN));
    await expect(compare(broken, uniform(4), tokens, protocol)).rejects.toThrow(
      /window 0, position 1: .* the baseline/,
    );
    await expect(compareMany(uniform(4), [uniform(4), broken], tokens, protocol)).rejects.toThrow(/of model 1 hold/);
  });

  it('scores by the tokens of the baseline', async () => {
    const report = await compare(copyPrevious(4, 0.7), uniform(4), new Int32Array(20).fill(2), protocol);
    expect(report.baseline.perplexity).toBeCloseTo(1 / 0.7, 6);
    expect(report.deltaP.mean).toBeCloseTo(0.25 - 0.7, 6);
    expect(report.deltaP.rms).toBeCloseTo(0.45, 6);
  });
});

describe('estimateMean', () => {
  it('gives the textbook error for independent tokens', () => {
    const { mean, tokenStandardError } = estimateMean([1, 2, 3, 4], [4]);
    expect(mean).toBe(2.5);
    expect(tokenStandardError).toBeCloseTo(Math.sqrt(5 / 3 / 4), 12);
  });

  it('sees that equal tokens in a window are one observation', () => {
    const once = estimateMean([1, 2, 4, 3], [1, 2, 3, 4]);
    const repeated = estimateMean([1, 1, 1, 2, 2, 2, 4, 4, 4, 3, 3, 3], [3, 6, 9, 12]);
    expect(repeated.windowStandardError).toBeCloseTo(once.windowStandardError, 12);
    expect(repeated.windowStandardError).toBeCloseTo(once.tokenStandardError, 12);
    expect(repeated.tokenStandardError).toBeLessThan(repeated.windowStandardError);
    expect(repeated.standardError).toBe(repeated.windowStandardError);
  });

  it('falls back to tokens for one window', () => {
    const estimate = estimateMean([1, 2, 3], [3]);
    expect(estimate.windowStandardError).toBeNaN();
    expect(estimate.standardError).toBe(estimate.tokenStandardError);
  });

  it('refuses windows that do not cover the values', () => {
    expect(() => estimateMean([1, 2], [1])).toThrow(/windowEnds/);
  });
});

describe('quantile', () => {
  it('interpolates', () => {
    expect(quantile([1, 2, 3], 0.5)).toBe(2);
    expect(quantile([1, 2], 0.25)).toBe(1.25);
    expect(quantile([], 0.5)).toBeNaN();
  });
});

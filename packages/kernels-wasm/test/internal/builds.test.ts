import { afterEach, describe, expect, it, vi } from 'vitest';
import { chooseBuild } from '../../src/internal/builds.js';
import { BUILDS } from '../product.js';

const failing = vi.hoisted(() => new Set<string>());
vi.mock('../../src/internal/self-test.js', async (original) => {
  const real = await original<typeof import('../../src/internal/self-test.js')>();
  return {
    passesSelfTest: (...values: Parameters<typeof real.passesSelfTest>) =>
      !failing.has(values[0]) && real.passesSelfTest(...values),
  };
});

afterEach(() => failing.clear());

describe('chooseBuild', () => {
  it.skipIf(BUILDS.includes('relaxed'))('says that the engine has no relaxed SIMD', () => {
    expect(chooseBuild('auto', true)).toEqual({
      build: 'simd',
      note: 'the relaxed build is not used: the engine does not know its instructions',
    });
  });

  it.runIf(BUILDS.includes('relaxed'))('falls back to the SIMD build when the numeric test fails, and says so', () => {
    expect(chooseBuild('auto', true)).toEqual({ build: 'relaxed' });
    failing.add('relaxed');
    expect(chooseBuild('auto', true)).toEqual({
      build: 'simd',
      note: 'the relaxed build is not used: the engine computes wrong results with it',
    });
    expect(() => chooseBuild('relaxed', true)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });

  it('refuses when no build computes right', () => {
    failing.add('simd');
    failing.add('relaxed');
    expect(() => chooseBuild('auto', true)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });
});

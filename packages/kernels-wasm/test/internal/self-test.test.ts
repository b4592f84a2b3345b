import { describe, expect, it } from 'vitest';
import { arena } from '../../src/internal/arena.js';
import { compileBuild } from '../../src/internal/modules.js';
import { passesSelfTest } from '../../src/internal/self-test.js';
import { BUILDS } from '../product.js';

describe.each(BUILDS)('self-test of the %s build', (build) => {
  const { module } = compileBuild(build);

  it('passes at addresses beyond 2 GiB', () => {
    const memory = arena(module, 3 * 2 ** 30);
    // Never touched, so it takes no memory.
    expect(memory.allocate(2 ** 31)).toBeDefined();
    expect(passesSelfTest(build, memory)).toBe(true);
    expect(memory.allocate(1)).toBeGreaterThan(2 ** 31);
  });

  it.each(['quantizedFloatGemm', 'quantizedFloatGemv', 'nibble1Gemv', 'byte1Gemm', 'wordsQuantize'] as const)(
    'notices a wrong %s',
    (name) => {
      const right = arena(module, 2 ** 20);
      const kernels = { ...right.kernels, [name]: () => {} };
      expect(passesSelfTest(build, Object.create(right, { kernels: { value: kernels } }))).toBe(false);
    },
  );
});

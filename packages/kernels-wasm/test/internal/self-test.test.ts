import { describe, expect, it } from 'vitest';
import { arena } from '../../src/internal/arena.js';
import { compiledModule, moduleBytes } from '../../src/internal/compiled-module.js';
import { type Job, jobs } from '../../src/internal/job.js';
import { PRODUCTS } from '../../src/internal/modules/products.js';
import { passesSelfTest } from '../../src/internal/self-test.js';
import { BUILDS } from '../product.js';

/** Jobs of one thread that leave out a kernel. */
function without(name: string): Job {
  const job = jobs(1);
  let started = '';
  return {
    ...job,
    start(memory, module, kernel) {
      started = kernel;
      job.start(memory, module, kernel);
    },
    run: (items, cost) => (started === name ? undefined : job.run(items, cost)),
  };
}

describe.each(BUILDS)('self-test of the %s build', (build) => {
  const module = compiledModule(0, moduleBytes(PRODUCTS, build, true));

  it('passes at addresses beyond 2 GiB', () => {
    const memory = arena(0, 3 * 2 ** 30, true);
    // Never touched, so it takes no memory.
    expect(memory.allocate(2 ** 31)).toBeDefined();
    expect(passesSelfTest(build, module, memory)).toBe(true);
    expect(memory.allocate(1)).toBeGreaterThan(2 ** 31);
  });

  it('passes in a memory that is not shared', () => {
    const plain = compiledModule(0, moduleBytes(PRODUCTS, build, false));
    expect(passesSelfTest(build, plain, arena(0, 2 ** 20, false))).toBe(true);
  });

  it.each(['quantizedFloatGemm', 'quantizedFloatGemv', 'nibble1Gemv', 'byte1Gemm', 'wordsQuantize'] as const)(
    'notices a wrong %s',
    (name) => {
      expect(passesSelfTest(build, module, arena(0, 2 ** 20, true), without(name))).toBe(false);
    },
  );
});

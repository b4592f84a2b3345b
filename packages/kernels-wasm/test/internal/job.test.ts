import { afterAll, describe, expect, it } from 'vitest';
import { PRODUCTS } from '../../src/internal/modules/products.js';
import { type Machine, machine } from '../../src/runtime.js';

const PANELS = 3000;

/** A job that copies the 8 values of each panel: the products of a weight of zeros, plus biases. */
function copy(runtime: Machine, cost: number): Float32Array {
  const bytes = 32 * PANELS;
  const [arena, at] = runtime.place(2 * bytes + 512);
  const from = arena.floats.subarray(at / 4, at / 4 + 8 * PANELS);
  from.forEach((_, i) => {
    from[i] = Math.random();
  });
  const zeros = at + 2 * bytes;
  arena.bytes.fill(0, zeros, zeros + 512);
  const { job } = runtime;
  job.start(arena, runtime.compiled(PRODUCTS), 'floatGemv');
  job.stepped(zeros, 0);
  job.value(zeros);
  job.stepped(at + bytes, 32);
  job.count();
  job.value(4);
  job.stepped(at, 32);
  job.stepped(8 * PANELS, -8);
  job.perThread(zeros + 256, 64);
  expect(job.run(PANELS, cost)).toBeUndefined();
  const to = arena.floats.slice((at + bytes) / 4, (at + 2 * bytes) / 4);
  expect(to.every((value, i) => value === from[i])).toBe(true);
  arena.free(at);
  return to;
}

describe('job', () => {
  const runtimes = [1, 2, 3].map((threads) => machine({ build: 'simd', threads, memoryBytes: 2 ** 24 }));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it.each(runtimes)('does every item once', (runtime) => {
    for (const cost of [1, 20, 400, 1e6]) copy(runtime, cost);
    for (let i = 0; i < 300; i++) copy(runtime, 50);
  });

  it('goes on with memories that come after the workers started', () => {
    const runtime = runtimes[1];
    copy(runtime, 1000);
    const held = Array.from({ length: 6 }, () => runtime.place(3 * 2 ** 20));
    expect(new Set(held.map(([arena]) => arena)).size).toBeGreaterThan(1);
    for (let i = 0; i < 50; i++) copy(runtime, 1000);
    for (const [arena, at] of held) arena.free(at);
  });

  it('does nothing for no items', () => {
    const { job, place, compiled } = runtimes[1];
    const [arena] = place(64);
    job.start(arena, compiled(PRODUCTS), 'floatGemv');
    expect(job.run(0, 1e9)).toBeUndefined();
  });

  it('says when a kernel traps, in whichever thread, and goes on after it', () => {
    for (const runtime of runtimes) {
      const { job, place, compiled } = runtime;
      const [arena] = place(64);
      job.start(arena, compiled(PRODUCTS), 'floatGemv');
      job.stepped(2 ** 31, 2 ** 20);
      job.value(64);
      job.value(64);
      job.value(1);
      job.value(4);
      job.value(64);
      expect(() => job.run(1000, 1e6)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
      copy(runtime, 1000);
    }
  });

  it('works alone after it was disposed of', async () => {
    const runtime = machine({ build: 'simd', threads: 2, memoryBytes: 2 ** 24 });
    copy(runtime, 1e5);
    await runtime.dispose();
    expect(runtime.threads).toBe(1);
    expect(() => runtime.allocate(4)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
  });
});

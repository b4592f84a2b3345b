import { afterAll, describe, expect, it } from 'vitest';
import { PRODUCTS } from '../../src/internal/modules/products.js';
import { type Machine, machine } from '../../src/runtime.js';

const PANELS = 3000;
const ROWS = 3;

/** A job that copies the 8 values of each panel to three rows. */
function spread(runtime: Machine, cost: number): Float32Array {
  const [arena, at] = runtime.place(32 * PANELS * (1 + ROWS));
  const from = arena.floats.subarray(at / 4, at / 4 + 8 * PANELS);
  from.forEach((_, i) => {
    from[i] = Math.random();
  });
  const { job } = runtime;
  job.start(arena, runtime.compiled(PRODUCTS), 'fillBias');
  job.stepped(at, 32);
  job.stepped(at + 32 * PANELS, 32 * ROWS);
  job.value(ROWS);
  job.count();
  expect(job.run(PANELS, cost)).toBeUndefined();
  const to = arena.floats.slice(at / 4 + 8 * PANELS, at / 4 + 8 * PANELS * (1 + ROWS));
  const right = to.every((value, i) => value === from[8 * Math.floor(i / (8 * ROWS)) + (i % 8)]);
  expect(right).toBe(true);
  arena.free(at);
  return to;
}

describe('job', () => {
  const runtimes = [1, 2, 3].map((threads) => machine({ build: 'simd', threads, memoryBytes: 2 ** 24 }));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it.each(runtimes)('does every item once', (runtime) => {
    for (const cost of [1, 20, 400, 1e6]) spread(runtime, cost);
    for (let i = 0; i < 300; i++) spread(runtime, 50);
  });

  it('goes on with memories that come after the workers started', () => {
    const runtime = runtimes[1];
    spread(runtime, 1000);
    const held = Array.from({ length: 6 }, () => runtime.place(3 * 2 ** 20));
    expect(new Set(held.map(([arena]) => arena)).size).toBeGreaterThan(1);
    for (let i = 0; i < 50; i++) spread(runtime, 1000);
    for (const [arena, at] of held) arena.free(at);
  });

  it('does nothing for no items', () => {
    const { job, place, compiled } = runtimes[1];
    const [arena] = place(64);
    job.start(arena, compiled(PRODUCTS), 'fillBias');
    expect(job.run(0, 1e9)).toBeUndefined();
  });

  it('says when a kernel traps, in whichever thread, and goes on after it', () => {
    for (const runtime of runtimes) {
      const { job, place, compiled } = runtime;
      const [arena] = place(64);
      job.start(arena, compiled(PRODUCTS), 'fillBias');
      job.stepped(2 ** 31, 2 ** 20);
      job.stepped(64, 0);
      job.value(1);
      job.value(1);
      expect(() => job.run(1000, 1e6)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
      spread(runtime, 1000);
    }
  });

  it('works alone after it was disposed of', async () => {
    const runtime = machine({ build: 'simd', threads: 2, memoryBytes: 2 ** 24 });
    spread(runtime, 1e5);
    await runtime.dispose();
    expect(runtime.threads).toBe(1);
    expect(() => runtime.allocate(4)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
  });
});

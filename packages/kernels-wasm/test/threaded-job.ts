import { PRODUCTS } from '../src/internal/modules/products.js';
import type { Machine } from '../src/runtime.js';

/** A job that is worth several threads: it fills `sums` with 1. */
export function threadedJob(runtime: Machine): { readonly pending: void | Promise<void>; readonly sums: Float32Array } {
  const panels = 64;
  const [arena, at] = runtime.place(64 * panels);
  arena.floats.fill(1, at / 4, at / 4 + 8 * panels);
  arena.floats.fill(0, at / 4 + 8 * panels, at / 4 + 16 * panels);
  const { job } = runtime;
  job.start(arena, runtime.compiled(PRODUCTS), 'fillBias');
  job.stepped(at, 32);
  job.stepped(at + 32 * panels, 32);
  job.value(1);
  job.count();
  const pending = job.run(panels, 1e6);
  return { pending, sums: arena.floats.subarray(at / 4 + 8 * panels, at / 4 + 16 * panels) };
}

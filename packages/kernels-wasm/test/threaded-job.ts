import { PRODUCTS } from '../src/internal/modules/products.js';
import type { Machine } from '../src/runtime.js';

const PANELS = 64;

/** A job that is worth several threads: products of a weight of zeros with biases of 1. All of `sums` must become 1. */
export function threadedJob(runtime: Machine): { readonly pending: void | Promise<void>; readonly sums: Float32Array } {
  const bytes = 32 * PANELS;
  const [arena, bias] = runtime.place(2 * bytes + 1024);
  const out = bias + bytes;
  const zeros = out + bytes;
  arena.floats.fill(1, bias / 4, out / 4);
  arena.floats.fill(0, out / 4, zeros / 4 + 256);
  const { job } = runtime;
  job.start(arena, runtime.compiled(PRODUCTS), 'floatGemv');
  job.stepped(zeros, 0);
  job.value(zeros);
  job.stepped(out, 32);
  job.count();
  job.value(4);
  job.stepped(bias, 32);
  job.stepped(8 * PANELS, -8);
  job.perThread(zeros + 256, 64);
  const pending = job.run(PANELS, 1e6);
  return { pending, sums: arena.floats.subarray(out / 4, zeros / 4) };
}

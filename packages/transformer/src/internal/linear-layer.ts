import type { Awaitable, KernelBackend, UploadedLinear } from '@halftone/tensor';
import type { Taps } from '../taps.js';

/** Runs one linear layer between its taps. */
export function runLinear(
  backend: KernelBackend,
  weight: UploadedLinear,
  block: number,
  name: string,
  x: Float32Array,
  rows: number,
  out: Float32Array,
  taps: Taps | undefined,
): Awaitable<void> {
  if (taps === undefined) return backend.linear(weight, x, rows, out);
  return runTapped(backend, weight, block, name, x, rows, out, taps);
}

async function runTapped(
  backend: KernelBackend,
  weight: UploadedLinear,
  block: number,
  name: string,
  x: Float32Array,
  rows: number,
  out: Float32Array,
  taps: Taps,
): Promise<void> {
  await taps.onLinearInput?.(block, name, x, rows);
  await backend.linear(weight, x, rows, out);
  await taps.onLinearOutput?.(block, name, out, rows);
}

/**
 * The memory through which threads share a job: a call of one kernel, cut into chunks of items. `EPOCH` is odd while a job is
 * open. Threads take chunks by counting `NEXT` up and count finished ones in `COMPLETED`; a job may only be overwritten after
 * it was closed and no thread is `ACTIVE` in it. What every thread writes has a cache line of its own.
 */
import type { Kernel } from './kernel-module.js';

export const EPOCH = 0;
export const NEXT = 16;
export const ACTIVE = 32;
export const COMPLETED = 48;
export const SLEEPERS = 64;
/** Messages posted to each worker so far: one that has read fewer goes back to its event loop. */
export const MESSAGES = 80;
export const FAILED = 96;
export const ITEMS = 112;
export const GRAIN = 113;
export const CHUNKS = 114;
export const ARENA = 115;
export const MODULE = 116;
export const KERNEL = 117;
export const ARGUMENTS = 118;
/** One for each argument. */
const KINDS = 128;

/** Most arguments of a kernel. */
export const MAX_ARGUMENTS = 16;

/** What is added to an argument's value: nothing, `step * first item`, `step * thread`; or the number of items stands for it. */
export const FIXED = 0;
export const STEPPED = 1;
export const PER_THREAD = 2;
export const COUNT = 3;

const FLOATS_AT = (KINDS + MAX_ARGUMENTS) * 4;
const BYTES = FLOATS_AT + 2 * MAX_ARGUMENTS * 8;

export interface ControlBlock {
  readonly integers: Int32Array;
  readonly kinds: Int32Array;
  readonly values: Float64Array;
  readonly steps: Float64Array;
  /** The arguments of the chunk at hand, of this thread. */
  readonly chunk: Float64Array;
}

export function controlBlock(buffer: ArrayBufferLike = new ArrayBuffer(BYTES)): ControlBlock {
  const integers = new Int32Array(buffer, 0, FLOATS_AT / 4);
  return {
    integers,
    kinds: integers.subarray(KINDS),
    values: new Float64Array(buffer, FLOATS_AT, MAX_ARGUMENTS),
    steps: new Float64Array(buffer, FLOATS_AT + 8 * MAX_ARGUMENTS, MAX_ARGUMENTS),
    chunk: new Float64Array(MAX_ARGUMENTS),
  };
}

export function sharedControlBytes(): SharedArrayBuffer {
  return new SharedArrayBuffer(BYTES);
}

/** Takes chunks of the open job until there are none. A chunk that traps is counted, and the job marked as failed. */
export function runChunks(block: ControlBlock, kernel: Kernel, thread: number): void {
  const { integers } = block;
  const items = integers[ITEMS];
  const grain = integers[GRAIN];
  const chunks = integers[CHUNKS];
  for (;;) {
    const chunk = Atomics.add(integers, NEXT, 1);
    if (chunk >= chunks) return;
    const first = chunk * grain;
    try {
      runChunk(block, kernel, first, Math.min(grain, items - first), thread);
    } catch {
      Atomics.store(integers, FAILED, 1);
    }
    if (Atomics.add(integers, COMPLETED, 1) + 1 === chunks) Atomics.notify(integers, COMPLETED);
  }
}

export function runChunk(
  { integers, kinds, values, steps, chunk: c }: ControlBlock,
  kernel: Kernel,
  first: number,
  count: number,
  thread: number,
): void {
  for (let i = 0; i < integers[ARGUMENTS]; i++) {
    const kind = kinds[i];
    if (kind === COUNT) c[i] = count;
    else if (kind === FIXED) c[i] = values[i];
    else c[i] = values[i] + steps[i] * (kind === STEPPED ? first : thread);
  }
  // A spread would allocate. Engines ignore arguments that a function lacks.
  kernel(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13], c[14], c[15]);
}

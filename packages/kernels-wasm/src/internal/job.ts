import { HalftoneError } from '@halftone/tensor';
import type { Arena } from './arena.js';
import type { CompiledModule } from './compiled-module.js';
import {
  ACTIVE,
  ARENA,
  ARGUMENTS,
  CHUNKS,
  COMPLETED,
  COUNT,
  controlBlock,
  EPOCH,
  FAILED,
  FIXED,
  GRAIN,
  ITEMS,
  KERNEL,
  MODULE,
  NEXT,
  PER_THREAD,
  runChunk,
  runChunks,
  SLEEPERS,
  STEPPED,
  sharedControlBytes,
} from './control-block.js';
import { mayWait } from './environment.js';
import type { Kernel } from './kernel-module.js';
import { type ThreadPool, threadPool } from './thread-pool.js';

/** Less work than this is not worth telling other threads about. */
const SMALLEST_JOB = 10_000;
/** Work in a chunk, at least. */
const SMALLEST_CHUNK = 3_000;
/** Chunks for each thread: the slowest one then makes the others wait for little. */
const CHUNKS_PER_THREAD = 8;
/** Polls before this thread goes to sleep until the others are done. */
const SPINS = 50_000;

/**
 * One call of a kernel over items that do not depend on each other (panels of a weight, rows, heads), on one thread or on
 * several. `start`, then the arguments in the order of the kernel's, then `run`. Results must not depend on how items are cut
 * into chunks; then they are the same for any number of threads. Describing and running a job allocates nothing.
 */
export interface Job {
  start(arena: Arena, module: CompiledModule, name: string): void;
  /** The same for every chunk. */
  value(value: number): void;
  /** `value + step * index of the chunk's first item` */
  stepped(value: number, step: number): void;
  /** `value + step * index of the thread`: scratch memory. */
  perThread(value: number, step: number): void;
  /** The number of items of the chunk. */
  count(): void;
  /**
   * `itemCost` is about how many nanoseconds an item takes on one thread. Returns when all is done, or a promise on a page's
   * main thread, which may not wait. Throws `DEVICE` when a kernel traps.
   */
  run(items: number, itemCost: number): void | Promise<void>;
}

export interface Jobs extends Job {
  /** This thread and the workers that it can count on. */
  readonly threads: number;
  readonly refusal?: string;
  /** Whether `run` may return promises. */
  readonly asynchronous: boolean;
  /** Starts the workers ahead of the first job. */
  warmUp(): void;
  dispose(): Promise<void>;
}

/** Workers are sent what `memories` and `modules` hold when a job needs it. Both only ever grow. */
export function jobs(
  threads: number,
  memories: readonly WebAssembly.Memory[] = [],
  modules: readonly WebAssembly.Module[] = [],
): Jobs {
  const block = controlBlock(threads > 1 ? sharedControlBytes() : undefined);
  const pool: ThreadPool | undefined = threads > 1 ? threadPool(threads - 1, block) : undefined;
  const { integers, kinds, values, steps } = block;
  const waits = pool === undefined || mayWait();
  let kernel: Kernel | undefined;
  let count = 0;

  const push = (kind: number, value: number, step: number) => {
    kinds[count] = kind;
    values[count] = value;
    steps[count] = step;
    count++;
  };

  const alone = (job: Kernel, items: number) => {
    try {
      runChunk(block, job, 0, items, 0);
    } catch {
      throw trapped();
    }
  };

  const open = (chunks: number) => {
    Atomics.store(integers, NEXT, 0);
    Atomics.store(integers, COMPLETED, 0);
    integers[FAILED] = 0;
    integers[CHUNKS] = chunks;
    Atomics.add(integers, EPOCH, 1);
    if (Atomics.load(integers, SLEEPERS) > 0) Atomics.notify(integers, EPOCH);
  };

  /** Workers that are late see that the job is closed and leave it alone. */
  const close = () => {
    Atomics.add(integers, EPOCH, 1);
    while (Atomics.load(integers, ACTIVE) > 0);
    if (integers[FAILED] !== 0) throw trapped();
  };

  const wait = (chunks: number) => {
    for (let spin = 0; ; spin++) {
      const completed = Atomics.load(integers, COMPLETED);
      if (completed >= chunks) return;
      if (spin > SPINS) Atomics.wait(integers, COMPLETED, completed, 1);
    }
  };

  const finishLater = async (chunks: number) => {
    for (;;) {
      const completed = Atomics.load(integers, COMPLETED);
      if (completed >= chunks) break;
      await change(integers, COMPLETED, completed);
    }
    close();
  };

  const warmUp = () => pool?.ensure(memories, modules);

  return {
    get threads() {
      return 1 + (pool?.workers ?? 0);
    },
    get refusal() {
      return pool?.refusal;
    },
    asynchronous: !waits,
    start(arena, module, name) {
      const index = module.index(name);
      kernel = arena.functions(module)[index];
      count = 0;
      integers[ARENA] = arena.id;
      integers[MODULE] = module.id;
      integers[KERNEL] = index;
    },
    value: (value) => push(FIXED, value, 0),
    stepped: (value, step) => push(STEPPED, value, step),
    perThread: (value, step) => push(PER_THREAD, value, step),
    count: () => push(COUNT, 0, 0),
    run(items, itemCost) {
      integers[ARGUMENTS] = count;
      const job = kernel as Kernel;
      if (items < 1) return undefined;
      if (pool === undefined || items < 2 || items * itemCost < SMALLEST_JOB || pool.workers === 0)
        return alone(job, items);
      warmUp();
      const grain = Math.ceil(Math.max(1, SMALLEST_CHUNK / itemCost, items / (CHUNKS_PER_THREAD * (pool.workers + 1))));
      const chunks = Math.ceil(items / grain);
      integers[ITEMS] = items;
      integers[GRAIN] = grain;
      if (!waits && pool.ready < pool.workers) return alone(job, items);
      open(chunks);
      if (!waits) return finishLater(chunks);
      runChunks(block, job, 0);
      wait(chunks);
      close();
      return undefined;
    },
    warmUp,
    dispose: async () => pool?.dispose(),
  };
}

function trapped(): HalftoneError {
  return new HalftoneError('DEVICE', 'a kernel read or wrote outside its memory; this is a defect, please report it', {
    where: 'wasmRuntime',
  });
}

/** Resolves when the value is another one, or soon after. */
async function change(integers: Int32Array, index: number, value: number): Promise<void> {
  const { waitAsync } = Atomics as unknown as {
    waitAsync?: (array: Int32Array, index: number, value: number, timeout: number) => { value: unknown };
  };
  if (waitAsync === undefined) await new Promise((resolve) => setTimeout(resolve));
  else await waitAsync(integers, index, value, 100).value;
}

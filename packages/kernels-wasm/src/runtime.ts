import { HalftoneError, type KernelMemory } from '@halftone/tensor';
import { type Arena, arena } from './internal/arena.js';
import { chooseBuild } from './internal/builds.js';
import { type CompiledModule, compiledModule, moduleBytes } from './internal/compiled-module.js';
import { threadsRefusal, usefulThreads } from './internal/environment.js';
import { turns } from './internal/in-turn.js';
import { type Job, jobs } from './internal/job.js';
import type { Kernel, KernelModule } from './internal/kernel-module.js';
import type { WasmBuild } from './internal/layout.js';

const WHERE = 'wasmRuntime';
const MAX_THREADS = 64;
/** With so many bytes taken, operations large enough for several threads will come. */
const WORKERS_FROM_BYTES = 4 * 2 ** 20;

export interface WasmRuntimeOptions {
  /** `auto` takes `relaxed` where the engine has it and its arithmetic passes a test, else `simd`. */
  readonly build?: 'auto' | WasmBuild;
  /**
   * Threads that work on one operation, this one included. `auto`: every core up to 4, half of them beyond, at most 8. Where
   * threads cannot share memory (a page that is not cross-origin isolated) there is one. Workers start when a few megabytes
   * are taken, or with the first operation that is large enough; browsers start them only once the event loop turns.
   */
  readonly threads?: 'auto' | number;
  /** Largest size of one WebAssembly memory, in bytes. What does not fit goes to further memories. */
  readonly memoryBytes?: number;
}

export const WASM_RUNTIME_DEFAULTS: Required<WasmRuntimeOptions> = {
  build: 'auto',
  threads: 'auto',
  memoryBytes: 4 * 2 ** 30 - 65536,
};

/** WebAssembly memories, the threads that share them, and the build of the kernels that run there. */
export interface WasmRuntime extends KernelMemory {
  readonly build: WasmBuild;
  /** Threads that operations can count on. */
  readonly threads: number;
  /** Why it is not the relaxed build, or not as many threads as wanted. */
  readonly notes: readonly string[];
  dispose(): Promise<void>;
}

/** What operations of this package see of a runtime. */
export interface Machine extends WasmRuntime {
  readonly job: Job;
  /** The arena that holds an array; undefined for arrays of the JavaScript heap. */
  arenaOf(array: ArrayBufferView): Arena | undefined;
  /** A place for so many bytes, in the first memory that has one. Throws `DEVICE` when no memory can have it. */
  place(byteLength: number): readonly [Arena, number];
  compiled(module: KernelModule): CompiledModule;
  kernels<Name extends string>(arena: Arena, module: KernelModule<Name>): Readonly<Record<Name, Kernel>>;
  /**
   * Makes an operation wait for those before it where operations may be pending: on a page's main thread. Whatever uses `job`
   * or scratch memory goes through here once.
   */
  inTurn<Values extends readonly unknown[]>(
    operation: (...values: Values) => void | Promise<void>,
  ): (...values: Values) => void | Promise<void>;
  /** Throws `DEVICE` after `dispose`. */
  checkAlive(): void;
}

/**
 * Memories and threads for kernels. Synchronous, but on a page's main thread: there operations that take several threads
 * return promises, so that the page is never blocked; run the model in a Worker to save the time that promises take.
 *
 * Throws `UNSUPPORTED` where the engine lacks WebAssembly SIMD or the build that `options` asks for, `DEVICE` when no memory
 * can be had, and `RANGE` for options that make no sense.
 */
export function wasmRuntime(options: WasmRuntimeOptions = {}): WasmRuntime {
  return machine(options);
}

export function machine(options: WasmRuntimeOptions): Machine {
  const { build: wantedBuild, threads: wantedThreads, memoryBytes } = { ...WASM_RUNTIME_DEFAULTS, ...options };
  checkOptions(wantedThreads, memoryBytes);
  const shared = hasSharedMemory();
  const { build, note } = chooseBuild(wantedBuild, shared);
  const refusal = shared ? threadsRefusal() : 'the engine has no shared memory';
  const threads = refusal !== undefined ? 1 : wantedThreads === 'auto' ? usefulThreads() : wantedThreads;
  const arenas: Arena[] = [];
  const modules = new Map<KernelModule, CompiledModule>();
  const memories: WebAssembly.Memory[] = [];
  const compiledModules: WebAssembly.Module[] = [];
  const work = jobs(threads, memories, compiledModules);
  let disposed = false;
  let taken = 0;

  const compiled = (module: KernelModule): CompiledModule => {
    let entry = modules.get(module);
    if (entry === undefined) {
      entry = compiledModule(modules.size, moduleBytes(module, build, shared));
      modules.set(module, entry);
      compiledModules.push(entry.module);
    }
    return entry;
  };
  const arenaOf = (array: ArrayBufferView): Arena | undefined => {
    for (const candidate of arenas) if (candidate.owns(array)) return candidate;
    return undefined;
  };
  const checkAlive = () => {
    if (disposed) throw new HalftoneError('DEVICE', 'the runtime was disposed; create another one', { where: WHERE });
  };
  const place = (byteLength: number): readonly [Arena, number] => {
    checkAlive();
    const found = findPlace(byteLength);
    if (taken < WORKERS_FROM_BYTES && taken + byteLength >= WORKERS_FROM_BYTES) work.warmUp();
    taken += byteLength;
    return found;
  };
  const findPlace = (byteLength: number): readonly [Arena, number] => {
    for (const candidate of arenas) {
      const address = candidate.allocate(byteLength);
      if (address !== undefined) return [candidate, address];
    }
    const added = arena(arenas.length, memoryBytes, shared);
    const address = added.allocate(byteLength);
    if (address === undefined) {
      throw new HalftoneError('DEVICE', `${byteLength} bytes do not fit into a memory; split the weight by rows`, {
        where: WHERE,
        details: { byteLength, memoryBytes },
      });
    }
    arenas.push(added);
    memories.push(added.memory);
    return [added, address];
  };

  return {
    build,
    get threads() {
      return work.threads;
    },
    get notes() {
      const reasons = wantedThreads === 1 ? [note] : [note, refusal, work.refusal];
      return reasons.filter((reason) => reason !== undefined);
    },
    job: work,
    arenaOf,
    place,
    compiled,
    kernels: (where, module) => where.kernels(compiled(module), module),
    inTurn: work.asynchronous ? turns() : (operation) => operation,
    checkAlive,
    allocate(length) {
      const [home, address] = place(4 * length);
      return new Float32Array(home.memory.buffer, address, length).fill(0);
    },
    free(array) {
      arenaOf(array)?.free(array.byteOffset);
    },
    async dispose() {
      disposed = true;
      arenas.length = 0;
      memories.length = 0;
      await work.dispose();
    },
  };
}

/** Workers need it, and its views survive growth. A page need not be isolated to have one for itself. */
function hasSharedMemory(): boolean {
  try {
    return new WebAssembly.Memory({ initial: 0, maximum: 0, shared: true }).buffer !== undefined;
  } catch {
    return false;
  }
}

function checkOptions(threads: 'auto' | number, memoryBytes: number): void {
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new HalftoneError(
      'RANGE',
      `threads is ${threads}; it must be 'auto' or a whole number from 1 to ${MAX_THREADS}`,
      {
        where: WHERE,
      },
    );
  }
  if (!(memoryBytes >= 2 ** 20 && memoryBytes <= WASM_RUNTIME_DEFAULTS.memoryBytes)) {
    throw new HalftoneError(
      'RANGE',
      `memoryBytes is ${memoryBytes}; it must be from 1 MiB to ${WASM_RUNTIME_DEFAULTS.memoryBytes}`,
      { where: WHERE },
    );
  }
}

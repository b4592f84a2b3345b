import { workerProgram } from '../generated/worker.js';
import { type ControlBlock, EPOCH, MESSAGES, SLEEPERS } from './control-block.js';
import { type SpawnedWorker, spawnWorker } from './environment.js';

/**
 * Polls of an idle worker before it goes to sleep, some tens of microseconds: longer than what lies between the products of a
 * token, because waking a thread takes as long as a small product.
 */
const SPINS = 20_000;

export type WorkerMessage =
  | { readonly type: 'start'; readonly control: SharedArrayBuffer; readonly thread: number; readonly spins: number }
  | { readonly type: 'memory'; readonly memory: WebAssembly.Memory }
  | { readonly type: 'module'; readonly module: WebAssembly.Module };

/** Worker threads that help with jobs. They start at the first call of `ensure`. */
export interface ThreadPool {
  /** Workers that can take chunks now, or will by themselves: at least so many others as this thread. */
  readonly workers: number;
  /** Workers that have said that they run. */
  readonly ready: number;
  /** Why there are fewer workers than wanted. */
  readonly refusal?: string;
  /** Makes sure that workers run and have been sent all of these, of which no entry ever changes. */
  ensure(memories: readonly WebAssembly.Memory[], modules: readonly WebAssembly.Module[]): void;
  dispose(): Promise<void>;
}

export function threadPool(wanted: number, block: ControlBlock): ThreadPool {
  const { integers } = block;
  let workers: SpawnedWorker[] | undefined;
  let refusal: string | undefined;
  let ready = 0;
  let disposed = false;
  let sentMemories = 0;
  let sentModules = 0;

  const giveUp = (reason: string) => {
    if (disposed) return;
    refusal = reason;
    ready = 0;
    for (const worker of workers ?? []) void worker.terminate();
    workers = [];
  };

  const start = () => {
    workers = [];
    try {
      for (let thread = 1; thread <= wanted; thread++) {
        workers.push(spawnWorker(workerProgram, { onMessage: () => ready++, onError: giveUp }));
      }
    } catch (error) {
      giveUp(`workers cannot start: ${error instanceof Error ? error.message : error}`);
    }
    const control = integers.buffer as SharedArrayBuffer;
    send((index) => ({ type: 'start', control, thread: index + 1, spins: SPINS }));
  };

  /** Idle workers block their event loops, so they are called back to them. */
  const send = (message: (index: number) => WorkerMessage) => {
    Atomics.add(integers, MESSAGES, 1);
    Atomics.add(integers, EPOCH, 2);
    if (Atomics.load(integers, SLEEPERS) > 0) Atomics.notify(integers, EPOCH);
    for (const [index, worker] of (workers ?? []).entries()) worker.postMessage(message(index));
  };

  return {
    get workers() {
      return workers === undefined ? wanted : workers.length;
    },
    get ready() {
      return ready;
    },
    get refusal() {
      return refusal;
    },
    ensure(memories, modules) {
      if (disposed) return;
      if (workers === undefined) start();
      for (; sentMemories < memories.length; sentMemories++) {
        const memory = memories[sentMemories];
        send(() => ({ type: 'memory', memory }));
      }
      for (; sentModules < modules.length; sentModules++) {
        const module = modules[sentModules];
        send(() => ({ type: 'module', module }));
      }
    },
    async dispose() {
      disposed = true;
      const ending = (workers ?? []).map((worker) => worker.terminate());
      workers = [];
      ready = 0;
      await Promise.all(ending);
    },
  };
}

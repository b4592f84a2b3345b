/** What the place where the code runs allows: Node, a browser's page, a worker. Nothing here imports a module of Node. */

interface NodeWorkerThreads {
  readonly Worker: new (source: string, options: Record<string, unknown>) => NodeWorker;
}

interface NodeWorker {
  postMessage(message: unknown): void;
  terminate(): Promise<number>;
  unref(): void;
  on(event: string, listener: (value: unknown) => void): void;
}

/** A worker thread that runs a program given as text. */
export interface SpawnedWorker {
  postMessage(message: unknown): void;
  terminate(): Promise<unknown>;
}

export interface WorkerEvents {
  onMessage(message: unknown): void;
  onError(reason: string): void;
}

const scope = globalThis as unknown as {
  readonly process?: { getBuiltinModule?: (name: string) => unknown };
  readonly crossOriginIsolated?: boolean;
  readonly navigator?: { readonly hardwareConcurrency?: number };
};

function nodeWorkerThreads(): NodeWorkerThreads | undefined {
  return scope.process?.getBuiltinModule?.('node:worker_threads') as NodeWorkerThreads | undefined;
}

/** Why no worker can share memory with this thread; undefined when one can. */
export function threadsRefusal(): string | undefined {
  if (nodeWorkerThreads() !== undefined) return undefined;
  if (scope.crossOriginIsolated !== true) return 'the page is not cross-origin isolated';
  return typeof Worker === 'function' ? undefined : 'there are no workers here';
}

/** False on a page's main thread, which may not wait. */
export function mayWait(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Threads that pay: every core of a small machine; on larger ones half, because the rest are mostly second threads of the same
 * cores or slower cores; never more than 8, where memory sets the speed.
 */
export function usefulThreads(): number {
  const os = scope.process?.getBuiltinModule?.('node:os') as { availableParallelism(): number } | undefined;
  const cores = os?.availableParallelism() ?? scope.navigator?.hardwareConcurrency ?? 1;
  return cores <= 4 ? cores : Math.max(4, Math.min(8, Math.floor(cores / 2)));
}

/** Throws what the platform throws when it refuses, for example for a content-security policy. */
export function spawnWorker(program: string, events: WorkerEvents): SpawnedWorker {
  const node = nodeWorkerThreads();
  if (node !== undefined) {
    // Without `execArgv: []` the loaders that this process was started with would be loaded again.
    const worker = new node.Worker(program, { eval: true, execArgv: [], name: 'halftone' });
    worker.on('message', events.onMessage);
    worker.on('error', (error) => events.onError(String(error)));
    worker.unref();
    return worker;
  }
  const url = URL.createObjectURL(new Blob([program], { type: 'text/javascript' }));
  try {
    const worker = new Worker(url, { name: 'halftone' });
    worker.onmessage = ({ data }) => events.onMessage(data);
    worker.onerror = (event) => {
      event.preventDefault?.();
      events.onError(event.message || 'the worker did not start');
    };
    return {
      postMessage: (message) => worker.postMessage(message),
      terminate: async () => worker.terminate(),
    };
  } finally {
    URL.revokeObjectURL(url);
  }
}

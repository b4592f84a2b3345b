/**
 * What a worker thread runs: chunks of jobs, until there is a message to read. It is bundled into a string
 * (src/generated/worker.ts), so that bundlers and content-security policies need to know nothing of another file.
 */
import {
  ACTIVE,
  ARENA,
  controlBlock,
  EPOCH,
  KERNEL,
  MESSAGES,
  MODULE,
  runChunks,
  SLEEPERS,
} from '../src/internal/control-block.js';
import type { Kernel } from '../src/internal/kernel-module.js';
import type { WorkerMessage } from '../src/internal/thread-pool.js';

interface Port {
  postMessage(message: unknown): void;
  on?(event: 'message', listener: (message: WorkerMessage) => void): void;
  onmessage?: (event: { data: WorkerMessage }) => void;
}

// biome-ignore lint/suspicious/noExplicitAny: the globals of Node and of browsers, whichever there are
const scope = globalThis as any;
const port: Port = scope.process?.getBuiltinModule?.('node:worker_threads').parentPort ?? scope;

const memories: WebAssembly.Memory[] = [];
const modules: WebAssembly.Module[] = [];
/** By memory and module. */
const kernels: Kernel[][][] = [];
let read = 0;
let block = controlBlock();
let thread = 0;
let spins = 0;

function receive(message: WorkerMessage): void {
  read++;
  if (message.type === 'start') {
    ({ thread, spins } = message);
    block = controlBlock(message.control);
    port.postMessage('ready');
  } else if (message.type === 'memory') memories.push(message.memory);
  else modules.push(message.module);
  if (Atomics.load(block.integers, MESSAGES) === read) work();
}

/** Returns when the main thread has posted another message. */
function work(): void {
  const { integers } = block;
  let seen = 0;
  for (;;) {
    for (let spin = 0; Atomics.load(integers, EPOCH) === seen; spin++) {
      if (spin < spins) continue;
      Atomics.add(integers, SLEEPERS, 1);
      Atomics.wait(integers, EPOCH, seen);
      Atomics.sub(integers, SLEEPERS, 1);
    }
    if (Atomics.load(integers, MESSAGES) !== read) return;
    seen = Atomics.load(integers, EPOCH);
    // Even: the job is closed.
    if (seen % 2 === 0) continue;
    Atomics.add(integers, ACTIVE, 1);
    // A job that was closed in between may be overwritten already.
    if (Atomics.load(integers, EPOCH) === seen) {
      runChunks(block, kernel(integers[ARENA], integers[MODULE], integers[KERNEL]), thread);
    }
    Atomics.sub(integers, ACTIVE, 1);
  }
}

function kernel(memory: number, module: number, index: number): Kernel {
  kernels[memory] ??= [];
  kernels[memory][module] ??= functions(modules[module], memories[memory]);
  return kernels[memory][module][index];
}

function functions(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel[] {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return WebAssembly.Module.exports(module).map(({ name }) => exports[name] as unknown as Kernel);
}

if (port.on) port.on('message', receive);
else port.onmessage = ({ data }) => receive(data);

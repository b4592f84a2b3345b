import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WASM_RUNTIME_DEFAULTS, wasmRuntime } from '../src/index.js';
import { machine } from '../src/runtime.js';
import { BUILDS } from './product.js';
import { threadedJob } from './threaded-job.js';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const allOnes = (sums: Float32Array) => sums.every((value) => value === 1);

describe('wasmRuntime', () => {
  it('takes the newest build that runs', async () => {
    const runtime = wasmRuntime(WASM_RUNTIME_DEFAULTS);
    expect(runtime.build).toBe(BUILDS.at(-1));
    await runtime.dispose();
  });

  it.each([
    { threads: 0 },
    { threads: 1.5 },
    { threads: 1000 },
    { threads: Number.NaN },
    { memoryBytes: 1000 },
    { memoryBytes: 2 ** 40 },
  ])('refuses %o', (options) => {
    expect(() => wasmRuntime(options)).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('gives arrays of zeros that stay valid while the memory grows', async () => {
    const runtime = wasmRuntime({ threads: 1 });
    const first = runtime.allocate(5).fill(7);
    const large = runtime.allocate(2 ** 24);
    expect(large.every((value) => value === 0)).toBe(true);
    first[0] = 8;
    expect([...first]).toEqual([8, 7, 7, 7, 7]);
    runtime.free(first);
    runtime.free(Float32Array.of(1));
    expect([...runtime.allocate(5)]).toEqual([0, 0, 0, 0, 0]);
    await runtime.dispose();
  });

  it('refuses what no memory can hold', async () => {
    const runtime = wasmRuntime({ threads: 1, memoryBytes: 2 ** 20 });
    expect(() => runtime.allocate(2 ** 20)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
    await runtime.dispose();
  });

  it('works without shared memory, on one thread, and says so', async () => {
    const { Memory } = WebAssembly;
    vi.spyOn(WebAssembly, 'Memory').mockImplementation(function (this: unknown, descriptor) {
      if (descriptor.shared) throw new TypeError('no shared memory');
      return new Memory(descriptor);
    });
    const runtime = machine({ threads: 2, build: 'simd' });
    expect([runtime.threads, runtime.notes]).toEqual([1, ['the engine has no shared memory']]);
    const { pending, sums } = threadedJob(runtime);
    expect(pending).toBeUndefined();
    expect(allOnes(sums)).toBe(true);
    await runtime.dispose();
  });

  it('works where workers cannot start, and says so', async () => {
    const real = process.getBuiltinModule;
    vi.spyOn(process, 'getBuiltinModule').mockImplementation(((name: string) => {
      if (name !== 'node:worker_threads') return real(name);
      return {
        Worker: class {
          constructor() {
            throw new Error('refused by policy');
          }
        },
      };
    }) as typeof real);
    const runtime = machine({ threads: 2, build: 'simd' });
    const { sums } = threadedJob(runtime);
    expect(allOnes(sums)).toBe(true);
    expect(runtime.threads).toBe(1);
    expect(runtime.notes.join()).toContain('refused by policy');
    await runtime.dispose();
  });

  it('never waits where waiting is not allowed: workers do the work, a promise tells when', async () => {
    const wait = vi.spyOn(Atomics, 'wait').mockImplementation(() => {
      throw new TypeError('Atomics.wait cannot be called in this context');
    });
    const runtime = machine({ threads: 2, build: 'simd' });
    let { pending, sums } = threadedJob(runtime);
    // The worker has not answered yet.
    expect(pending).toBeUndefined();
    for (let tries = 0; pending === undefined && tries < 500; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      ({ pending, sums } = threadedJob(runtime));
    }
    expect(pending).toBeInstanceOf(Promise);
    await pending;
    expect(allOnes(sums)).toBe(true);
    expect(wait).toHaveBeenCalledTimes(1);
    await runtime.dispose();
  });

  it('uses one thread on a page that is not cross-origin isolated', async () => {
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined as never);
    const runtime = wasmRuntime({ threads: 2 });
    expect([runtime.threads, runtime.notes.at(-1)]).toEqual([1, 'the page is not cross-origin isolated']);
    await runtime.dispose();
  });

  it('lets the process end by itself with threads still there', () => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--conditions=halftone-source', '--import', 'tsx', fileURLToPath(new URL('exit-program.ts', import.meta.url))],
      { encoding: 'utf8', timeout: 60_000 },
    );
    expect([status, stdout, stderr]).toEqual([0, '2\n', '']);
  }, 90_000);
});

import { isHalftoneError, type KernelBackend } from '@halftone/tensor';
import { plainBackend } from './plain/backend.js';
import { type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

export interface CpuBackend extends KernelBackend {
  /** Why it is not the fastest one there is: no WebAssembly SIMD, no relaxed build, fewer threads than wanted. */
  readonly notes: readonly string[];
}

/**
 * `wasmBackend(options)` where the engine can run it, else `plainBackend()` with a note that says why. Throws what
 * `wasmBackend` throws, but for `UNSUPPORTED`.
 */
export function cpuBackend(options: WasmBackendOptions = {}): CpuBackend {
  try {
    return wasmBackend(options);
  } catch (error) {
    if (!isHalftoneError(error) || error.code !== 'UNSUPPORTED') throw error;
    return { ...plainBackend(), notes: [`plain TypeScript: ${error.message}`] };
  }
}

import { cpuBackend } from '@halftone/kernels-wasm';
import type { KernelBackend } from '@halftone/tensor';

/** `cpuBackend()` of `@halftone/kernels-wasm`: WebAssembly where the engine has SIMD, else plain TypeScript. */
export function defaultBackend(): KernelBackend {
  return cpuBackend();
}

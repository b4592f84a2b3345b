import { wasmBackend } from '@halftone/kernels-wasm';
import { isHalftoneError, type KernelBackend } from '@halftone/tensor';
import { blockedBackend } from './blocked.js';

/** `wasmBackend()` where the engine has WebAssembly SIMD, else `blockedBackend()`. */
export function defaultBackend(): KernelBackend {
  try {
    return wasmBackend();
  } catch (error) {
    if (isHalftoneError(error) && error.code === 'UNSUPPORTED') return blockedBackend();
    throw error;
  }
}

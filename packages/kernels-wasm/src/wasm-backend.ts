import type { BlockKernels, KernelBackend } from '@halftone/tensor';
import { blockKernels } from './internal/block-kernels.js';
import type { WasmBuild } from './internal/layout.js';
import { linearLayers } from './internal/linear-layers.js';
import { machine, WASM_RUNTIME_DEFAULTS, type WasmRuntimeOptions } from './runtime.js';

export interface WasmBackendOptions extends WasmRuntimeOptions {
  /**
   * How quantized weights are multiplied. `int8` rounds each run of 32 inputs to 8 bits with a scale of its own, which costs
   * little accuracy beside 4-bit weights and runs several times faster; `float` keeps inputs as they are.
   */
  readonly activations?: 'int8' | 'float';
}

export const WASM_BACKEND_DEFAULTS: Required<WasmBackendOptions> = { ...WASM_RUNTIME_DEFAULTS, activations: 'int8' };

export interface WasmBackend extends KernelBackend {
  readonly block: BlockKernels;
  readonly build: WasmBuild;
  /** Threads that operations can count on. */
  readonly threads: number;
  /** Why it is not the relaxed build, or not as many threads as wanted. */
  readonly notes: readonly string[];
  readonly supportsPacked: NonNullable<KernelBackend['supportsPacked']>;
  readonly uploadPacked: NonNullable<KernelBackend['uploadPacked']>;
  dispose(): Promise<void>;
}

/**
 * Matrix products in WebAssembly SIMD; see `wasmRuntime` for memories and threads.
 *
 * Float weights are held in float32. Affine quantized weights (up to 8 bits; one scale for the tensor, a row, or groups of a
 * multiple of 16 columns; all ggml block formats of this kind) are held in 4 or 8 bits a code with float32 scales. Weights
 * with outliers, low-rank parts or reordered columns are decoded to float32 first.
 *
 * Throws what `wasmRuntime` throws. Rows with NaN or infinities give NaN with `int8` activations.
 */
export function wasmBackend(options: WasmBackendOptions = {}): WasmBackend {
  const { activations, ...rest } = { ...WASM_BACKEND_DEFAULTS, ...options };
  const runtime = machine(rest);
  const { build, inTurn } = runtime;
  const layers = linearLayers(runtime, activations);
  return {
    name: `wasm-${build}`,
    build,
    get threads() {
      return runtime.threads;
    },
    get notes() {
      return runtime.notes;
    },
    ...layers,
    linear: inTurn(layers.linear),
    block: blockKernels(runtime),
    dispose: runtime.dispose,
  };
}

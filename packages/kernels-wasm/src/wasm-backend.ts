import type { BlockKernels, KernelBackend } from '@halftone/tensor';
import { blockKernels } from './internal/block-kernels.js';
import { int8Layers } from './internal/int8-layers.js';
import type { WasmBuild } from './internal/layout.js';
import { linearLayers } from './internal/linear-layers.js';
import { sidedLayers } from './internal/sided-layers.js';
import { machine, WASM_RUNTIME_DEFAULTS, type WasmRuntimeOptions } from './runtime.js';

export interface WasmBackendOptions extends WasmRuntimeOptions {
  /**
   * How quantized weights are multiplied. `int8` rounds each run of 32 inputs to 8 bits with a scale of its own, which costs
   * little accuracy beside 4-bit weights and runs several times faster; `float` keeps inputs as they are.
   *
   * `int8-row` has one scale for each row of inputs, as W8A8 and W4A8 models mean it. That is faster still and less accurate
   * where few features are far larger than the rest; it is meant for weights whose inputs were smoothed. It serves what
   * `int8Product` takes, with groups of at least 128 columns; other quantized weights are multiplied as with `int8`.
   */
  readonly activations?: 'int8' | 'int8-row' | 'float';
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
 * Float weights are held in float32. Quantized weights of up to 8 bits (affine, small floats, tables of single values; one scale
 * for the tensor, a row, or groups of a multiple of 16 columns) are held in 2, 4 or 8 bits a code with float32 scales. Their
 * outliers, low-rank parts, column scales and reordered columns act on float32 inputs and outputs beside that; weights whose
 * `groupIndex` makes groups of unequal sizes are decoded to float32 first. With `int8` activations, tables and small floats are
 * rounded to 8 bits too where they are not integers times a unit.
 *
 * Throws what `wasmRuntime` throws. Rows with NaN or infinities give NaN with `int8` activations.
 */
export function wasmBackend(options: WasmBackendOptions = {}): WasmBackend {
  const { activations, ...rest } = { ...WASM_BACKEND_DEFAULTS, ...options };
  const runtime = machine(rest);
  const { build, inTurn } = runtime;
  const dense =
    activations === 'int8-row'
      ? int8Layers(runtime, linearLayers(runtime, 'int8'))
      : linearLayers(runtime, activations);
  const layers = sidedLayers(runtime, dense);
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

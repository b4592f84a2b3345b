import type { BlockKernels, KernelBackend } from '@halftone/tensor';
import type { ModelConfig } from './config.js';
import { type Buffers, buffers } from './internal/buffers.js';
import { plainBlockKernels } from './internal/plain-block-kernels.js';
import { type RopeTables, ropeTables } from './rope.js';

/** Kernels, activations and tables that the parts of one model share. Parts that share one must not run at the same time. */
export interface Workspace {
  /** The backend's, or plain TypeScript where it has none. */
  readonly kernels: BlockKernels;
  readonly buffers: Buffers;
  readonly rope?: RopeTables;
  /** Gives all arrays back. */
  dispose(): void;
}

export function workspace(config: ModelConfig, backend: KernelBackend): Workspace {
  const kernels = backend.block ?? plainBlockKernels();
  const arrays = buffers(kernels);
  const rope = config.rope && ropeTables(config.rope, config.headDim, kernels);
  return {
    kernels,
    buffers: arrays,
    rope,
    dispose() {
      arrays.dispose();
      rope?.dispose();
    },
  };
}

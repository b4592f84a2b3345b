import type { Awaitable } from '@halftone/tensor';

/**
 * Callbacks on what flows through a forward pass. Arrays are the engine's own buffers: read or change them in place, but copy
 * what must outlive the call (or the promise that it returns). They may be longer than `rows` rows; only the first are valid.
 */
export interface Taps {
  /** The residual stream before a block, `[rows, hiddenSize]`. */
  readonly onBlockInput?: (block: number, hidden: Float32Array, rows: number) => Awaitable<void>;
  readonly onBlockOutput?: (block: number, hidden: Float32Array, rows: number) => Awaitable<void>;
  /**
   * Once for each linear layer, before it runs, with its input `[rows, inFeatures]`. Layers with the same `input` edge in the
   * block graph (query, key and value; gate and up) get the same array. The model's head is `head` in block `config.layers`.
   */
  readonly onLinearInput?: (block: number, linear: string, x: Float32Array, rows: number) => Awaitable<void>;
  /** The linear's output `[rows, outFeatures]`, bias included. */
  readonly onLinearOutput?: (block: number, linear: string, y: Float32Array, rows: number) => Awaitable<void>;
}

import type { WasmBuild } from './layout.js';

/** Everything is an address, a count, a flag or a factor. */
export type Kernel = (...values: readonly number[]) => number;

/** Kernels that are loaded together, in WebAssembly of either build. */
export interface KernelModule<Name extends string = string> {
  readonly name: string;
  /**
   * For each build what makes its bytes: each text (see `textToBytes`) is edits (see `withEdits`) of what all before it made, and
   * the last makes the build. Builds are largely alike, and so are modules that share kernels.
   */
  readonly edits: Readonly<Record<WasmBuild, readonly string[]>>;
  /** The names of its exports: for types only. */
  readonly exports?: Readonly<Record<Name, Kernel>>;
}

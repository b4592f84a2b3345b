import type { WasmBuild } from './layout.js';

/** Everything is an address, a count, a flag or a factor. */
export type Kernel = (...values: readonly number[]) => number;

/** Kernels that are loaded together, in WebAssembly of either build. */
export interface KernelModule<Name extends string = string> {
  readonly name: string;
  /** Of each build, in hexadecimal digits: bytes, then edits of them (see `applyEdits`), as builds are largely alike. */
  readonly hex: Readonly<Record<WasmBuild, readonly string[]>>;
  /** The names of its exports: for types only. */
  readonly exports?: Readonly<Record<Name, Kernel>>;
}

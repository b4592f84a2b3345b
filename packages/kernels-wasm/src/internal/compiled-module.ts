import { textToBytes } from './byte-text.js';
import { withEdits } from './edits.js';
import type { KernelModule } from './kernel-module.js';
import type { WasmBuild } from './layout.js';

/** A kernel module compiled for one runtime. */
export interface CompiledModule {
  /** The same in every thread: its place among the modules of the runtime. */
  readonly id: number;
  readonly module: WebAssembly.Module;
  /** Place of an export among the exports. */
  index(name: string): number;
}

/** The bytes of a module, importing a memory that is `shared` or not. */
export function moduleBytes({ edits }: KernelModule, build: WasmBuild, shared: boolean): Uint8Array<ArrayBuffer> {
  let all = new Uint8Array(0);
  let start = 0;
  for (const text of edits[build]) {
    start = all.length;
    all = withEdits(all, textToBytes(text));
  }
  const bytes = all.slice(start);
  if (!shared) importPlainMemory(bytes);
  return bytes;
}

export function compiledModule(id: number, bytes: Uint8Array<ArrayBuffer>): CompiledModule {
  const module = new WebAssembly.Module(bytes);
  const indices = new Map(WebAssembly.Module.exports(module).map(({ name }, index) => [name, index]));
  return {
    id,
    module,
    index(name) {
      const index = indices.get(name);
      if (index === undefined) throw new Error(`there is no kernel ${name}`);
      return index;
    },
  };
}

/** The import `env.memory` with limits that say "shared, with a maximum". */
const SHARED_MEMORY_IMPORT = [3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 3];

/** Shared and plain memories have different types, which differ in one bit of the import. */
function importPlainMemory(bytes: Uint8Array): void {
  const pattern = SHARED_MEMORY_IMPORT;
  const at = bytes.findIndex((_, start) => pattern.every((byte, i) => bytes[start + i] === byte));
  if (at < 0) throw new Error('the module imports no shared memory');
  bytes[at + pattern.length - 1] = 1;
}

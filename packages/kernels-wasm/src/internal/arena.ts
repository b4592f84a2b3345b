import { HalftoneError } from '@halftone/tensor';
import { allocator } from './allocator.js';
import type { CompiledModule } from './compiled-module.js';
import type { Kernel, KernelModule } from './kernel-module.js';

const PAGE = 65536;
/** Memory grows by at least this much. Untouched pages cost nothing. */
const GROWTH = 16 * 2 ** 20;
/** Size of a memory that cannot grow without detaching its views. */
const FIXED_BYTES = 2 ** 30;

/** One WebAssembly memory and the kernels that work in it. Views of it stay valid: it is shared, or never grows. */
export interface Arena {
  /** The same in every thread: its place among the arenas of the runtime. */
  readonly id: number;
  readonly memory: WebAssembly.Memory;
  /** All of the memory. Made anew when it grows. */
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;
  readonly integers: Int32Array;
  /** Bytes that `scratch` can always give. */
  readonly scratchBytes: number;
  /** Whether an array lies in this memory; its address is its `byteOffset`. */
  owns(array: ArrayBufferView): boolean;
  functions(module: CompiledModule): readonly Kernel[];
  kernels<Name extends string>(module: CompiledModule, kind: KernelModule<Name>): Readonly<Record<Name, Kernel>>;
  /** The address of uninitialized memory, on a cache line; undefined when this arena is full. */
  allocate(byteLength: number): number | undefined;
  free(address: number): void;
  /** The address of memory that the next call gives to someone else. */
  scratch(byteLength: number): number;
}

/** `maxBytes` is rounded down to pages of 64 KiB. Throws `DEVICE` when the engine gives no memory. */
export function arena(id: number, maxBytes: number, shared: boolean): Arena {
  const maximum = Math.floor((shared ? maxBytes : Math.min(maxBytes, FIXED_BYTES)) / PAGE);
  const memory = newMemory(maximum, shared);
  const ranges = allocator(PAGE);
  const limit = maximum * PAGE;
  const scratchBytes = Math.min(128 * 2 ** 20, Math.floor(limit / 4));
  const instances = new Map<CompiledModule, WebAssembly.Exports>();
  const functions = new Map<CompiledModule, readonly Kernel[]>();
  // A shared memory that grew has a new buffer; views of the old one stay valid.
  const buffers = new WeakSet<ArrayBufferLike>();
  let bytes = new Uint8Array(0);
  let floats = new Float32Array(0);
  let integers = new Int32Array(0);
  let scratchAddress = 0;
  let scratchLength = 0;

  const renew = () => {
    const { buffer } = memory;
    buffers.add(buffer);
    bytes = new Uint8Array(buffer);
    floats = new Float32Array(buffer);
    integers = new Int32Array(buffer);
  };
  renew();

  const take = (byteLength: number, end: number): number | undefined => {
    const address = ranges.allocate(byteLength, end);
    if (address === undefined) return undefined;
    const missing = address + byteLength - bytes.length;
    if (missing > 0) {
      const pages = Math.ceil(Math.max(missing, GROWTH, bytes.length / 8) / PAGE);
      if (!grow(memory, Math.min(pages, maximum - bytes.length / PAGE)) && !grow(memory, Math.ceil(missing / PAGE))) {
        ranges.free(address);
        return undefined;
      }
      renew();
    }
    return address;
  };

  const exportsOf = (module: CompiledModule): WebAssembly.Exports => {
    let exports = instances.get(module);
    if (exports === undefined) {
      // The module's memory import declares the largest maximum, which every memory satisfies.
      exports = new WebAssembly.Instance(module.module, { env: { memory } }).exports;
      instances.set(module, exports);
    }
    return exports;
  };

  return {
    id,
    memory,
    get bytes() {
      return bytes;
    },
    get floats() {
      return floats;
    },
    get integers() {
      return integers;
    },
    scratchBytes,
    owns: (array) => array.buffer === bytes.buffer || buffers.has(array.buffer),
    functions(module) {
      let list = functions.get(module);
      if (list === undefined) {
        const exports = exportsOf(module);
        list = WebAssembly.Module.exports(module.module).map(({ name }) => exports[name] as unknown as Kernel);
        functions.set(module, list);
      }
      return list;
    },
    kernels: (module) => exportsOf(module) as never,
    allocate: (byteLength) => take(byteLength, limit - scratchBytes),
    free: ranges.free,
    scratch(byteLength) {
      if (byteLength <= scratchLength) return scratchAddress;
      if (scratchLength > 0) ranges.free(scratchAddress);
      scratchLength = 0;
      const address = take(byteLength, limit);
      if (address === undefined) {
        throw new HalftoneError('DEVICE', `no ${byteLength} bytes left to work in; release weights`, {
          where: 'wasmRuntime',
          details: { byteLength },
        });
      }
      scratchAddress = address;
      scratchLength = byteLength;
      return address;
    },
  };
}

function newMemory(maximum: number, shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: shared ? 1 : maximum, maximum, shared });
  } catch (cause) {
    throw new HalftoneError('DEVICE', `the engine gives no memory of up to ${maximum * PAGE} bytes`, {
      where: 'wasmRuntime',
      details: { maximum },
      cause,
    });
  }
}

function grow(memory: WebAssembly.Memory, pages: number): boolean {
  try {
    memory.grow(pages);
    return true;
  } catch {
    return false;
  }
}

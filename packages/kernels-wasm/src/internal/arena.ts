import { HalftoneError } from '@halftone/tensor';
import { allocator } from './allocator.js';
import type { KernelExports } from './kernel-exports.js';

const PAGE = 65536;
/** Memory grows by at least this much, so that views are seldom made anew. Untouched pages cost nothing. */
const GROWTH = 16 * 2 ** 20;

/** One WebAssembly memory with the kernels that work in it. */
export interface Arena {
  readonly kernels: KernelExports;
  /** All of the memory. Valid until the next call of `allocate` or `scratch`. */
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;
  /** Bytes that `scratch` can always give. */
  readonly scratchBytes: number;
  /** The address of uninitialized memory, on a cache line; undefined when this arena is full. */
  allocate(byteLength: number): number | undefined;
  free(address: number): void;
  /** The address of memory that the next call gives to someone else. */
  scratch(byteLength: number): number;
}

/** `maxBytes` is rounded down to pages of 64 KiB. */
export function arena(module: WebAssembly.Module, maxBytes: number): Arena {
  const maximum = Math.floor(maxBytes / PAGE);
  const memory = newMemory(maximum);
  // The module's memory import declares the largest maximum, which every memory satisfies.
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const ranges = allocator(PAGE);
  const limit = maximum * PAGE;
  const scratchBytes = Math.min(128 * 2 ** 20, Math.floor(limit / 4));
  let bytes = new Uint8Array(memory.buffer);
  let floats = new Float32Array(memory.buffer);
  let scratchAddress = 0;
  let scratchLength = 0;

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
      bytes = new Uint8Array(memory.buffer);
      floats = new Float32Array(memory.buffer);
    }
    return address;
  };

  return {
    kernels: exports as unknown as KernelExports,
    get bytes() {
      return bytes;
    },
    get floats() {
      return floats;
    },
    scratchBytes,
    allocate: (byteLength) => take(byteLength, limit - scratchBytes),
    free: ranges.free,
    scratch(byteLength) {
      if (byteLength <= scratchLength) return scratchAddress;
      if (scratchLength > 0) ranges.free(scratchAddress);
      scratchLength = 0;
      const address = take(byteLength, limit);
      if (address === undefined) {
        throw new HalftoneError('DEVICE', `no ${byteLength} bytes left to work in; release weights`, {
          where: 'wasmBackend',
          details: { byteLength },
        });
      }
      scratchAddress = address;
      scratchLength = byteLength;
      return address;
    },
  };
}

function newMemory(maximum: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum });
  } catch (cause) {
    throw new HalftoneError('DEVICE', `the engine gives no memory of up to ${maximum * PAGE} bytes`, {
      where: 'wasmBackend',
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

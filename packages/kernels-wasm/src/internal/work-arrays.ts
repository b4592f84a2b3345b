import { HalftoneError } from '@halftone/tensor';
import type { Arena } from './arena.js';

/** Float arrays in the memory of arenas that are kept from call to call and grow when more is asked of them. */
export interface WorkArrays<Name extends string> {
  /** Contents are whatever was there. Throws `DEVICE` when the arena has no room. */
  take(arena: Arena, name: Name, length: number): Float32Array;
}

export function workArrays<Name extends string>(): WorkArrays<Name> {
  const arrays = new Map<Arena, Map<Name, Float32Array>>();
  return {
    take(arena, name, length) {
      let named = arrays.get(arena);
      if (named === undefined) {
        named = new Map();
        arrays.set(arena, named);
      }
      const current = named.get(name);
      if (current !== undefined && current.length >= length) return current;
      if (current !== undefined) arena.free(current.byteOffset);
      named.delete(name);
      const address = arena.allocate(4 * length);
      if (address === undefined) {
        throw new HalftoneError('DEVICE', `no ${4 * length} bytes left to work in; release weights`, {
          where: 'wasmRuntime',
          details: { byteLength: 4 * length },
        });
      }
      const array = new Float32Array(arena.memory.buffer, address, length);
      named.set(name, array);
      return array;
    },
  };
}

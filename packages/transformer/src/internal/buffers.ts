import type { KernelMemory } from '@halftone/tensor';

/** Named arrays that are reused between calls and grow to the largest length asked for. */
export interface Buffers {
  /** Exactly `length` values, with whatever was left in them. The same array until another length is asked for. */
  take(name: string, length: number): Float32Array;
  dispose(): void;
}

interface Buffer {
  readonly whole: Float32Array;
  /** The part of `whole` that was taken last. */
  part: Float32Array;
}

export function buffers(memory: KernelMemory): Buffers {
  const held = new Map<string, Buffer>();
  return {
    take(name, length) {
      let buffer = held.get(name);
      if (buffer === undefined || buffer.whole.length < length) {
        // The old one first: its room may serve the new one.
        if (buffer !== undefined) memory.free(buffer.whole);
        held.delete(name);
        const whole = memory.allocate(length);
        buffer = { whole, part: whole };
        held.set(name, buffer);
      }
      if (buffer.part.length !== length) buffer.part = buffer.whole.subarray(0, length);
      return buffer.part;
    },
    dispose() {
      for (const { whole } of held.values()) memory.free(whole);
      held.clear();
    },
  };
}

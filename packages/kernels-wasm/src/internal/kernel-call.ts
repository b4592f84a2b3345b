import type { Machine } from '../runtime.js';
import type { Arena } from './arena.js';
import type { Job } from './job.js';
import type { KernelModule } from './kernel-module.js';

/** What kernels read or write. */
export type Operand = Float32Array | Int32Array | Int8Array;

/**
 * One call of a kernel on arrays that may be anywhere: `start`, the operands, `place`, the job, `finish`. Operands in the memory
 * where the call runs (that of the first one which is in any) are used in place; others are copied to scratch memory and what was
 * written is copied back. The object serves one call after the other, so that calls on arrays in kernel memory allocate
 * nothing.
 */
export interface KernelCall {
  readonly machine: Machine;
  /** Throws `DEVICE` after `dispose`. */
  start(): void;
  /** The kernel reads the first `length` values. Returns a number for `address`. */
  read(array: Operand, length: number): number;
  /** The kernel writes all of the first `length` values, and may read them before. */
  write(array: Operand, length: number): number;
  /** Memory to work in. */
  scratch(byteLength: number): number;
  /** Whether an array is used in place. The call then runs in its memory if none was named before. */
  resident(array: Operand): boolean;
  /** Throws `DEVICE` when there is no memory for copies. */
  place(): Arena;
  address(operand: number): number;
  job(module: KernelModule, name: string): Job;
  /** `done` is what the job returned. */
  finish(done: void | Promise<void>): void | Promise<void>;
}

const MOST_OPERANDS = 8;
/** Of copies: addresses are multiples of it. */
const ALIGNMENT = 16;

export function kernelCall(machine: Machine): KernelCall {
  const arrays: (Operand | undefined)[] = new Array(MOST_OPERANDS).fill(undefined);
  const byteLengths = new Float64Array(MOST_OPERANDS);
  const addresses = new Float64Array(MOST_OPERANDS);
  const written = new Uint8Array(MOST_OPERANDS);
  const copied = new Uint8Array(MOST_OPERANDS);
  let anyCopied = false;
  let count = 0;
  let home: Arena | undefined;
  /** Where calls run that have no operand in kernel memory. */
  let fallback: Arena | undefined;

  const name = (array: Operand | undefined, byteLength: number, writes: boolean): number => {
    for (let i = 0; i < count; i++) {
      if (array === undefined || arrays[i] !== array) continue;
      byteLengths[i] = Math.max(byteLengths[i], byteLength);
      written[i] |= Number(writes);
      return i;
    }
    arrays[count] = array;
    byteLengths[count] = byteLength;
    written[count] = Number(writes);
    if (array !== undefined) home ??= machine.arenaOf(array);
    return count++;
  };
  const inPlace = (array: Operand): boolean => home?.owns(array) ?? false;

  const copyIn = (start: number) => {
    const { bytes } = home as Arena;
    for (let i = 0; i < count; i++) {
      if (copied[i] === 0) continue;
      addresses[i] += start;
      const array = arrays[i];
      if (array !== undefined) bytes.set(bytesOf(array, byteLengths[i]), addresses[i]);
    }
  };

  const copyBack = () => {
    if (!anyCopied) return;
    const arena = home as Arena;
    for (let i = 0; i < count; i++) {
      const array = arrays[i];
      if (array === undefined || written[i] + copied[i] < 2) continue;
      bytesOf(array, byteLengths[i]).set(arena.bytes.subarray(addresses[i], addresses[i] + byteLengths[i]));
    }
    arrays.fill(undefined);
  };

  return {
    machine,
    start() {
      machine.checkAlive();
      count = 0;
      home = undefined;
    },
    read: (array, length) => name(array, length * array.BYTES_PER_ELEMENT, false),
    write: (array, length) => name(array, length * array.BYTES_PER_ELEMENT, true),
    scratch: (byteLength) => name(undefined, byteLength, false),
    resident(array) {
      home ??= machine.arenaOf(array);
      return inPlace(array);
    },
    place() {
      if (home === undefined) {
        fallback ??= machine.place(ALIGNMENT)[0];
        home = fallback;
      }
      let total = 0;
      for (let i = 0; i < count; i++) {
        const array = arrays[i];
        copied[i] = Number(array === undefined || !inPlace(array));
        if (array !== undefined && copied[i] === 0) addresses[i] = array.byteOffset;
        else {
          addresses[i] = total;
          total += Math.ceil(byteLengths[i] / ALIGNMENT) * ALIGNMENT;
        }
      }
      anyCopied = total > 0;
      if (anyCopied) copyIn(home.scratch(total));
      return home;
    },
    address: (operand) => addresses[operand],
    job(module, kernel) {
      machine.job.start(home as Arena, machine.compiled(module), kernel);
      return machine.job;
    },
    finish(done) {
      if (done === undefined) return copyBack();
      return done.then(copyBack);
    },
  };
}

function bytesOf(array: Operand, byteLength: number): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, byteLength);
}

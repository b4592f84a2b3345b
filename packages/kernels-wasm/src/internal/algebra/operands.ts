import { HalftoneError } from '@halftone/tensor';
import type { Machine } from '../../runtime.js';
import type { Arena } from '../arena.js';
import type { Steps } from './steps.js';

export type FloatArray = Float32Array | Float64Array;

/** Bytes of an element as kernels see it. */
export type ElementBytes = 4 | 8;

/** What an operation works on: an array, or memory of its own. */
export interface Operand {
  readonly array?: FloatArray;
  readonly length: number;
  readonly bytes: ElementBytes;
  /** Whether what is in the array matters. */
  readonly read: boolean;
  readonly write: boolean;
}

export function input(array: FloatArray, bytes = elementBytes(array)): Operand {
  return { array, length: array.length, bytes, read: true, write: false };
}

export function output(array: FloatArray, read: boolean, bytes = elementBytes(array)): Operand {
  return { array, length: array.length, bytes, read, write: true };
}

/** Uninitialized. */
export function workspace(length: number, bytes: ElementBytes): Operand {
  return { length, bytes, read: false, write: false };
}

export function elementBytes(array: FloatArray): ElementBytes {
  return array instanceof Float64Array ? 8 : 4;
}

/** Where an operation runs. */
export interface Place {
  readonly machine: Machine;
  readonly arena: Arena;
}

/**
 * Runs an operation with the addresses of its operands. Arrays in the memory where most of them lie are used in place; others,
 * and those of another element type than kernels are to see, are copied there and back. Throws `DEVICE` when there is no room.
 */
export function* withOperands(
  machine: Machine,
  operands: readonly Operand[],
  body: (place: Place, addresses: readonly number[]) => Steps,
): Steps {
  const home = homeOf(machine, operands);
  const sizes = operands.map((operand) =>
    inPlace(home, operand) ? 0 : Math.ceil((operand.length * operand.bytes) / 64) * 64,
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const [arena, start] = reserve(machine, home, total);
  try {
    let next = start;
    const addresses = operands.map((operand, i) => {
      if (inPlace(arena, operand)) return (operand.array as FloatArray).byteOffset;
      const address = next;
      next += sizes[i];
      if (operand.read) view(arena, address, operand).set(operand.array as FloatArray);
      return address;
    });
    yield* body({ machine, arena }, addresses);
    operands.forEach((operand, i) => {
      if (operand.write && !inPlace(arena, operand)) operand.array?.set(view(arena, addresses[i], operand));
    });
  } finally {
    if (total > 0) arena.free(start);
  }
}

/** The memory that holds the most of the operands. */
function homeOf(machine: Machine, operands: readonly Operand[]): Arena | undefined {
  let home: Arena | undefined;
  let most = 0;
  for (const { array } of operands) {
    const owner = array && machine.arenaOf(array);
    if (array === undefined || owner === undefined || array.byteLength <= most) continue;
    most = array.byteLength;
    home = owner;
  }
  return home;
}

function inPlace(arena: Arena | undefined, { array, bytes }: Operand): boolean {
  return array !== undefined && arena !== undefined && array.BYTES_PER_ELEMENT === bytes && arena.owns(array);
}

function reserve(machine: Machine, home: Arena | undefined, byteLength: number): readonly [Arena, number] {
  machine.checkAlive();
  if (home === undefined) return machine.place(Math.max(byteLength, 64));
  if (byteLength === 0) return [home, 0];
  const address = home.allocate(byteLength);
  if (address !== undefined) return [home, address];
  throw new HalftoneError('DEVICE', `no ${byteLength} bytes left beside the arrays that lie in kernel memory`, {
    where: 'linearAlgebra',
    details: { byteLength },
  });
}

/** Elements at an address. */
export function view(
  { bytes: all }: Arena,
  address: number,
  { length, bytes }: Pick<Operand, 'length' | 'bytes'>,
): FloatArray {
  return bytes === 8 ? new Float64Array(all.buffer, address, length) : new Float32Array(all.buffer, address, length);
}

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
  machine.checkAlive();
  const { arena, reserved, inPlace, addresses } = layOut(machine, operands);
  const copies = operands.map((operand, i) => ({ operand, address: addresses[i] })).filter((_, i) => !inPlace[i]);
  try {
    for (const { operand, address } of copies) {
      if (operand.array !== undefined && operand.read) view(arena, address, operand).set(operand.array);
    }
    yield* body({ machine, arena }, addresses);
    for (const { operand, address } of copies) {
      if (operand.array !== undefined && operand.write) operand.array.set(view(arena, address, operand));
    }
  } finally {
    arena.free(reserved);
  }
}

interface Layout {
  readonly arena: Arena;
  /** The address of the memory for what is not in place; 0, which is nobody's, when all is. */
  readonly reserved: number;
  readonly inPlace: readonly boolean[];
  readonly addresses: readonly number[];
}

/** In the memory that holds the most of the operands or, when it is too full for the others, wherever all have room. */
function layOut(machine: Machine, operands: readonly Operand[]): Layout {
  const home = homeOf(machine, operands);
  if (home !== undefined) {
    const inPlace = operands.map(({ array, bytes }) => array?.BYTES_PER_ELEMENT === bytes && home.owns(array));
    const sizes = copiedBytes(operands, inPlace);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const start = total > 0 ? home.allocate(total) : undefined;
    if (total === 0 || start !== undefined) return layout(home, operands, inPlace, sizes, start);
  }
  const inPlace = operands.map(() => false);
  const sizes = copiedBytes(operands, inPlace);
  const [arena, start] = machine.place(sizes.reduce((sum, size) => sum + size, 0));
  return layout(arena, operands, inPlace, sizes, start);
}

/** Whole cache lines for each operand that is not in place. */
function copiedBytes(operands: readonly Operand[], inPlace: readonly boolean[]): readonly number[] {
  return operands.map(({ length, bytes }, i) => (inPlace[i] ? 0 : Math.ceil((length * bytes) / 64) * 64));
}

function layout(
  arena: Arena,
  operands: readonly Operand[],
  inPlace: readonly boolean[],
  sizes: readonly number[],
  reserved = 0,
): Layout {
  let next = reserved;
  const addresses = operands.map(({ array }, i) => {
    const address = next;
    next += sizes[i];
    return inPlace[i] && array !== undefined ? array.byteOffset : address;
  });
  return { arena, reserved, inPlace, addresses };
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

/** Elements at an address. */
export function view(
  { bytes: all }: Arena,
  address: number,
  { length, bytes }: Pick<Operand, 'length' | 'bytes'>,
): FloatArray {
  return bytes === 8 ? new Float64Array(all.buffer, address, length) : new Float32Array(all.buffer, address, length);
}

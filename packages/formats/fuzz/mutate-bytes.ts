import type { Random } from './random.js';

/** Lengths and counts that readers get wrong. */
const NUMBERS = [
  0n,
  1n,
  2n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x10000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A damaged copy: one to four edits, most of them in the first kilobyte, where headers are. `others` lend pieces. */
export function mutateBytes(file: Uint8Array, random: Random, others: readonly Uint8Array[] = []): Uint8Array {
  let bytes: Uint8Array = file.slice();
  for (let edits = 1 + random.below(4); edits > 0; edits--) bytes = random.pick(EDITS)(bytes, random, others);
  return bytes;
}

type Edit = (bytes: Uint8Array, random: Random, others: readonly Uint8Array[]) => Uint8Array;

const EDITS: readonly Edit[] = [
  flipBit,
  setByte,
  fillRun,
  setNumber,
  setNumber,
  truncate,
  append,
  removeRun,
  copyRun,
  splice,
];

function position(bytes: Uint8Array, random: Random): number {
  return random.below(random.next() < 0.8 ? Math.min(bytes.length, 1024) : bytes.length);
}

function flipBit(bytes: Uint8Array, random: Random): Uint8Array {
  const at = position(bytes, random);
  if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
  return bytes;
}

function setByte(bytes: Uint8Array, random: Random): Uint8Array {
  const at = position(bytes, random);
  if (at < bytes.length) bytes[at] = random.below(256);
  return bytes;
}

function fillRun(bytes: Uint8Array, random: Random): Uint8Array {
  const at = position(bytes, random);
  return bytes.fill(random.pick([0, 0x20, 0x7f, 0x80, 0xff]), at, at + 1 + random.below(16));
}

/** Overwrites 2, 4 or 8 bytes with a hostile number, or one near the file's size. */
function setNumber(bytes: Uint8Array, random: Random): Uint8Array {
  const width = random.pick([2, 4, 8]);
  const at = position(bytes, random);
  if (at + width > bytes.length) return bytes;
  const near = BigInt(Math.max(0, bytes.length - at + random.pick([-8, -1, 0, 1, 8])));
  const value = random.next() < 0.3 ? near : random.pick(NUMBERS);
  for (let i = 0; i < width; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return bytes;
}

function truncate(bytes: Uint8Array, random: Random): Uint8Array {
  const length = random.next() < 0.5 ? random.below(bytes.length + 1) : Math.max(0, bytes.length - random.below(64));
  return bytes.slice(0, length);
}

function append(bytes: Uint8Array, random: Random): Uint8Array {
  const longer = new Uint8Array(bytes.length + 1 + random.below(64)).fill(random.below(256));
  longer.set(bytes);
  return longer;
}

function removeRun(bytes: Uint8Array, random: Random): Uint8Array {
  const at = position(bytes, random);
  return joined(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.below(16))));
}

function copyRun(bytes: Uint8Array, random: Random): Uint8Array {
  const from = position(bytes, random);
  const run = bytes.slice(from, from + 1 + random.below(64));
  const to = position(bytes, random);
  return random.next() < 0.5
    ? joined(bytes.subarray(0, to), run, bytes.subarray(to))
    : joined(bytes.subarray(0, to), run, bytes.subarray(Math.min(bytes.length, to + run.length)));
}

/** The front of one file before the back of another. */
function splice(bytes: Uint8Array, random: Random, others: readonly Uint8Array[]): Uint8Array {
  if (others.length === 0) return bytes;
  const other = random.pick(others);
  return joined(bytes.subarray(0, position(bytes, random)), other.subarray(position(other, random)));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

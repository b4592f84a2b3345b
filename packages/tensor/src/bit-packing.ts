import { fail } from './error.js';

/**
 * Packs the low `bits` (1 to 8) of every code into one dense stream: code `i` takes bits `i * bits` and up, where bit 0
 * is the lowest bit of byte 0. Negative codes are stored in two's complement. Higher bits of a code are dropped.
 * Writes `ceil(codes.length * bits / 8)` bytes; unused bits of the last byte are 0. Throws `RANGE` when `out` is too short.
 */
export function packBits(codes: ArrayLike<number>, bits: number, out?: Uint8Array): Uint8Array {
  const count = codes.length;
  const byteLength = checkedByteLength(count, bits);
  const bytes = out ?? new Uint8Array(byteLength);
  checkCapacity(bytes.length, byteLength);
  const mask = (1 << bits) - 1;
  let buffer = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    buffer |= ((codes[i] as number) & mask) << filled;
    filled += bits;
    if (filled >= 8) {
      bytes[at++] = buffer;
      buffer >>>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) bytes[at] = buffer;
  return bytes;
}

/**
 * Reads `count` codes of `bits` (1 to 8) bits from a stream made by `packBits`.
 * Gives an Int8Array when `signed`, else a Uint8Array; `out` must be of that kind and have at least `count` elements.
 * Throws `RANGE` when the bytes or `out` are too few.
 */
export function unpackBits(
  bytes: Uint8Array,
  bits: number,
  count: number,
  signed: boolean,
  out?: Uint8Array | Int8Array,
): Uint8Array | Int8Array {
  checkCapacity(bytes.length, checkedByteLength(count, bits));
  const codes = out ?? (signed ? new Int8Array(count) : new Uint8Array(count));
  checkCapacity(codes.length, count);
  const mask = (1 << bits) - 1;
  // Shifting up and down again extends the sign; for unsigned codes by 0 bits, which does nothing.
  const extend = signed ? 32 - bits : 0;
  let buffer = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (filled < bits) {
      buffer |= (bytes[at++] as number) << filled;
      filled += 8;
    }
    codes[i] = ((buffer & mask) << extend) >> extend;
    buffer >>>= bits;
    filled -= bits;
  }
  return codes;
}

function checkedByteLength(count: number, bits: number): number {
  if (!(Number.isInteger(bits) && bits >= 1 && bits <= 8 && Number.isSafeInteger(count) && count >= 0)) {
    fail('RANGE', 'bit packing', `${count} codes of ${bits} bits; 1 to 8 can be packed`);
  }
  return Math.ceil((count * bits) / 8);
}

function checkCapacity(actual: number, needed: number): void {
  if (actual < needed) fail('RANGE', 'bit packing', `${actual} elements given but ${needed} needed`);
}

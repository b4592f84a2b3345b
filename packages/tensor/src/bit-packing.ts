import { HalftoneError } from './error.js';

/**
 * Packs the low `bits` (1 to 8) of every code into one dense stream: code `i` takes bits `i * bits` and up, where bit 0
 * is the lowest bit of byte 0. Negative codes are stored in two's complement. Higher bits of a code are dropped.
 * `out` must have `ceil(codes.length * bits / 8)` bytes; unused bits of the last byte are 0.
 */
export function packBits(codes: ArrayLike<number>, bits: number, out?: Uint8Array): Uint8Array {
  checkBits(bits);
  const count = codes.length;
  const bytes = sized(out, Math.ceil((count * bits) / 8), Uint8Array);
  const mask = (1 << bits) - 1;
  let buffer = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    buffer |= ((codes[i] as number) & mask) << filled;
    filled += bits;
    if (filled >= 8) {
      bytes[at++] = buffer & 0xff;
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
 */
export function unpackBits(bytes: Uint8Array, bits: number, count: number, signed: true, out?: Int8Array): Int8Array;
export function unpackBits(bytes: Uint8Array, bits: number, count: number, signed: false, out?: Uint8Array): Uint8Array;
export function unpackBits(
  bytes: Uint8Array,
  bits: number,
  count: number,
  signed: boolean,
  out?: Uint8Array | Int8Array,
): Uint8Array | Int8Array;
export function unpackBits(
  bytes: Uint8Array,
  bits: number,
  count: number,
  signed: boolean,
  out?: Uint8Array | Int8Array,
): Uint8Array | Int8Array {
  checkBits(bits);
  if (!Number.isSafeInteger(count) || count < 0 || Math.ceil((count * bits) / 8) > bytes.length) {
    throw new HalftoneError('RANGE', `${count} codes of ${bits} bits do not fit in ${bytes.length} bytes`, {
      where: 'unpackBits',
      details: { count, bits, byteLength: bytes.length },
    });
  }
  const codes = signed ? sized(out as Int8Array, count, Int8Array) : sized(out as Uint8Array, count, Uint8Array);
  const mask = (1 << bits) - 1;
  const extend = signed ? 32 - bits : 0;
  let buffer = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (filled < bits) {
      buffer |= (bytes[at++] as number) << filled;
      filled += 8;
    }
    // The shifts extend the sign; for unsigned codes they do nothing.
    codes[i] = ((buffer & mask) << extend) >> extend;
    buffer >>>= bits;
    filled -= bits;
  }
  return codes;
}

function checkBits(bits: number): void {
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw new HalftoneError('RANGE', `${bits} bits a code; 1 to 8 can be packed`, { where: 'bit packing', details: { bits } });
  }
}

function sized<A extends Uint8Array | Int8Array>(out: A | undefined, length: number, kind: new (length: number) => A): A {
  if (out === undefined) return new kind(length);
  if (out.length < length) {
    throw new HalftoneError('RANGE', `out has ${out.length} elements but ${length} are needed`, { where: 'bit packing' });
  }
  return out;
}

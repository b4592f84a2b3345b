/** Little-endian bytes of one stream of bits, each `[value, bits]` low bits first, filled up to whole words of 32 bits. */
export function bitStream(fields: readonly (readonly [value: number, bits: number])[]): Uint8Array {
  let stream = 0n;
  let length = 0n;
  for (const [value, bits] of fields) {
    stream |= BigInt(value) << length;
    length += BigInt(bits);
  }
  const bytes = new Uint8Array(Number((length + 31n) / 32n) * 4);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number((stream >> BigInt(8 * i)) & 255n);
  return bytes;
}

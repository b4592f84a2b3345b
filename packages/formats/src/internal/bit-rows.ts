/**
 * Moves `rows` runs of `rowBits` bits, which follow each other without padding from bit `skip` of `source` (low-first),
 * to rows that each start on a byte. Unused high bits of a row's last byte are 0.
 */
export function repackRows(source: Uint8Array, skip: number, rowBits: number, rows: number): Uint8Array {
  const rowBytes = Math.ceil(rowBits / 8);
  const out = new Uint8Array(rowBytes * rows);
  const lastMask = rowBits % 8 === 0 ? 0xff : (1 << (rowBits % 8)) - 1;
  for (let row = 0; row < rows; row++) {
    const firstBit = skip + row * rowBits;
    const shift = firstBit % 8;
    let from = (firstBit - shift) / 8;
    const to = row * rowBytes;
    for (let i = 0; i < rowBytes; i++, from++) {
      out[to + i] = ((source[from] as number) | ((source[from + 1] ?? 0) << 8)) >>> shift;
    }
    if (rowBytes > 0) out[to + rowBytes - 1] = (out[to + rowBytes - 1] as number) & lastMask;
  }
  return out;
}

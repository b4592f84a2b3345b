/**
 * `base` followed by what `edits` make of it. Those are numbers of 7 bits a byte, low bits first and the high bit set where more
 * follow: the length of what is made; how many bytes, the last of `edits`, are inserted; then again and again how many of these
 * come next, how far the place in `base` jumps beyond as many bytes (the lowest bit is the sign), and how many bytes are copied
 * from there.
 */
export function withEdits(base: Uint8Array, edits: Uint8Array): Uint8Array<ArrayBuffer> {
  let at = 0;
  const next = () => {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = edits[at++];
      number |= (byte & 127) << shift;
      if (byte < 128) return number;
    }
  };
  const bytes = new Uint8Array(base.length + next());
  bytes.set(base);
  let insert = edits.length - next();
  for (let to = base.length, from = 0; to < bytes.length; ) {
    const inserted = next();
    const jump = next();
    const copied = next();
    bytes.set(edits.subarray(insert, insert + inserted), to);
    insert += inserted;
    to += inserted;
    from += inserted + (jump & 1 ? -(jump + 1) / 2 : jump / 2);
    bytes.copyWithin(to, from, from + copied);
    from += copied;
    to += copied;
  }
  return bytes;
}

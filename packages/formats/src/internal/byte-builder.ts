/** Appends little-endian values to a growing buffer. */
export interface ByteBuilder {
  readonly length: number;
  u32(value: number): void;
  u64(value: number | bigint): void;
  bytes(values: Uint8Array): void;
  /** UTF-8 with a u64 length before it. */
  string(value: string | Uint8Array): void;
  /** Everything so far, with zeros up to a multiple of `alignment`. */
  finish(alignment: number): Uint8Array;
}

export function byteBuilder(): ByteBuilder {
  const encoder = new TextEncoder();
  let buffer = new Uint8Array(64 * 1024);
  let view = new DataView(buffer.buffer);
  let length = 0;

  function reserve(count: number): number {
    if (length + count > buffer.length) {
      const larger = new Uint8Array(Math.max(buffer.length * 2, length + count));
      larger.set(buffer.subarray(0, length));
      buffer = larger;
      view = new DataView(buffer.buffer);
    }
    const at = length;
    length += count;
    return at;
  }

  const builder: ByteBuilder = {
    get length() {
      return length;
    },
    u32(value) {
      const at = reserve(4);
      view.setUint32(at, value, true);
    },
    u64(value) {
      const at = reserve(8);
      view.setBigUint64(at, BigInt(value), true);
    },
    bytes(values) {
      const at = reserve(values.length);
      buffer.set(values, at);
    },
    string(value) {
      const bytes = typeof value === 'string' ? encoder.encode(value) : value;
      builder.u64(bytes.length);
      builder.bytes(bytes);
    },
    finish(alignment) {
      const out = new Uint8Array(Math.ceil(length / alignment) * alignment);
      out.set(buffer.subarray(0, length));
      return out;
    },
  };
  return builder;
}

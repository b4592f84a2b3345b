import { TABLE, TABLE_BYTES } from './layout.js';

/** The tables of a weight: `entries` as signed bytes, then as float32 in byte planes, which kernels look up one by one. */
export function packTables(entries: Float32Array, bytes: Uint8Array, address: number): void {
  const tables = bytes.subarray(address, address + TABLE_BYTES);
  tables.set(Int8Array.from(entries));
  const raw = new Uint8Array(entries.slice().buffer);
  for (const [i, byte] of raw.entries()) tables[TABLE * (1 + (i % 4)) + (i >> 2)] = byte;
}

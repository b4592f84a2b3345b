import { type ByteSource, isHalftoneError, packedByteLength, type TensorEntry } from '@halftone/tensor';
import { expect } from 'vitest';
import { arrayBufferSource, type GgufMetadataEntry, memorySink, writeGguf, writeSafetensors } from '../../src/index.js';

/** Deterministic bytes for a tensor: the same for the same name and length. */
export function fillBytes(name: string, length: number): Uint8Array {
  let state = 2166136261;
  for (const character of name) state = Math.imul(state ^ (character.codePointAt(0) as number), 16777619) >>> 0;
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function entryBytes({ name, dtype, shape }: TensorEntry): Uint8Array {
  return fillBytes(name, packedByteLength(dtype, shape));
}

export async function safetensorsFile(
  entries: readonly TensorEntry[],
  metadata: Record<string, string> = { format: 'pt' },
): Promise<Uint8Array> {
  const sink = memorySink();
  await writeSafetensors(sink, entries, { metadata, data: entryBytes });
  return sink.bytes();
}

export async function ggufFile(
  entries: readonly TensorEntry[],
  metadata: readonly GgufMetadataEntry[] = [{ key: 'general.architecture', type: 'string', value: 'llama' }],
  alignment?: number,
): Promise<Uint8Array> {
  const sink = memorySink();
  await writeGguf(sink, entries, { metadata, alignment, data: entryBytes });
  return sink.bytes();
}

/** A safetensors file from header text as it stands. */
export function rawSafetensors(
  header: string | Uint8Array,
  data: Uint8Array | number = 0,
  headerLength?: bigint,
): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const body = typeof data === 'number' ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + text.length + body.length);
  new DataView(file.buffer).setBigUint64(0, headerLength ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(body, 8 + text.length);
  return file;
}

/** A tiny llama2.c file: dim 8, hidden 12, 2 layers, 2 heads, 1 key head, 5 tokens, context 3. Values count upward. */
export function llama2cFile(vocabulary = 5): Uint8Array {
  const [dim, hidden, layers, heads, kvHeads, context] = [8, 12, 2, 2, 1, 3];
  const tokens = Math.abs(vocabulary);
  const kvDim = (dim / heads) * kvHeads;
  const perLayer = dim + dim * dim + 2 * kvDim * dim + dim * dim + dim + 3 * dim * hidden;
  const classifier = vocabulary < 0 ? tokens * dim : 0;
  const count = tokens * dim + layers * perLayer + dim + context * (dim / heads) + classifier;
  const file = new Uint8Array(28 + 4 * count);
  const view = new DataView(file.buffer);
  const fields = [dim, hidden, layers, heads, kvHeads, vocabulary, context];
  for (const [i, field] of fields.entries()) view.setInt32(4 * i, field, true);
  for (let i = 0; i < count; i++) view.setFloat32(28 + 4 * i, i, true);
  return file;
}

/** A source that records the ranges read. */
export function recording(source: ByteSource): ByteSource & { ranges: [number, number][] } {
  const ranges: [number, number][] = [];
  return {
    ...source,
    ranges,
    read(start, end, options) {
      ranges.push([start, end]);
      return source.read(start, end, options);
    },
  };
}

export function memory(bytes: Uint8Array): ByteSource {
  return arrayBufferSource(bytes, 'test-file');
}

/** The work must fail with a HalftoneError of this code whose message holds these words. */
export async function expectFailure(work: () => unknown, code: string, ...words: string[]): Promise<void> {
  let error: unknown;
  try {
    await work();
  } catch (caught) {
    error = caught;
  }
  expect(isHalftoneError(error), `a HalftoneError, got ${String(error)}`).toBe(true);
  expect((error as { code: string }).code).toBe(code);
  for (const word of words) expect(String(error)).toContain(word);
}

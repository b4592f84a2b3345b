import { unpackGgml } from '@halftone/formats';
import {
  decode,
  GGML_TYPES,
  type GgmlType,
  isGgmlType,
  type LazyTensor,
  type PackedTensor,
  packed,
  packedByteLength,
  type RowRange,
  type StorageType,
  tensor,
} from '@halftone/tensor';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { wasmBackend } from '../../src/index.js';
import { packFloatPanels } from '../../src/internal/float-panels.js';
import { blockBytes, headerBytes, kernelName, TABLE_BYTES } from '../../src/internal/layout.js';
import { packedUpload } from '../../src/internal/packed-upload.js';
import { panelWeight } from '../../src/internal/quantized-panels.js';
import { blockForm, isStoredType } from '../../src/internal/stored-types.js';
import { machine } from '../../src/runtime.js';
import { noise } from '../noise.js';
import { BUILDS } from '../product.js';

const BLOCK_TYPES = [
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q8_0',
  'Q2_K',
  'Q3_K',
  'Q4_K',
  'Q5_K',
  'Q6_K',
  'IQ4_NL',
  'IQ4_XS',
  'MXFP4',
] as const;
const TYPES = [...BLOCK_TYPES, 'f32', 'f16', 'bf16'] as const;
type StoredType = (typeof TYPES)[number];

/** Random bytes: with scales and values of every kind, NaN and denormals too. */
function stored<T extends StorageType>(dtype: T, shape: readonly number[], seed = 1): PackedTensor<T> {
  const bytes = new Uint8Array(packedByteLength(dtype, shape));
  let state = seed;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  // The one scale of MXFP4 that unpacked parts do not have.
  if (dtype === 'MXFP4') for (let at = 0; at < bytes.length; at += 17) if (bytes[at] === 255) bytes[at] = 0;
  return packed(dtype, shape, bytes);
}

/** A tensor in a file, from which `read` takes the bytes of a range. */
function lazy<T extends StorageType>(
  { dtype, shape, bytes }: PackedTensor<T>,
  read: (bytes: Uint8Array, rows: RowRange, into?: Uint8Array) => Promise<Uint8Array>,
): LazyTensor<T> {
  const rowBytes = bytes.length / shape[0];
  return {
    kind: 'lazy',
    name: 'weight',
    dtype,
    shape,
    byteLength: bytes.length,
    async read(rows = { start: 0, end: shape[0] }, options) {
      const part = bytes.subarray(rows.start * rowBytes, rows.end * rowBytes);
      return {
        kind: 'packed',
        dtype,
        shape: [rows.end - rows.start, shape[1]],
        bytes: await read(part, rows, options?.into),
      };
    },
  };
}

async function intoPlace(
  bytes: Uint8Array,
  _: RowRange,
  into: Uint8Array = new Uint8Array(bytes.length),
): Promise<Uint8Array> {
  into.set(bytes);
  return into;
}

/** What JavaScript packs, and where floats lie among the words. */
function expectedPanels(weight: PackedTensor<StoredType>) {
  const [outFeatures, inFeatures] = weight.shape;
  const { dtype } = weight;
  if (isGgmlType(dtype)) {
    const panels = panelWeight(unpackGgml(weight), 'int8');
    if (panels === undefined) throw new Error('all of these types are held in panels');
    const { byteLength, layout, center, entries, pack } = panels;
    const bytes = new Uint8Array(byteLength);
    pack(bytes, new Float32Array(bytes.buffer), 0);
    const isFloat = (word: number) => (4 * word) % blockBytes(layout) < headerBytes(layout);
    return { words: new Uint32Array(bytes.buffer), isFloat, quantized: { layout, center, entries } };
  }
  const depth = Math.ceil(inFeatures / 4) * 4;
  const floats = new Float32Array(Math.ceil(outFeatures / 8) * 8 * depth);
  packFloatPanels(decode({ ...weight, dtype }), outFeatures, inFeatures, floats, 0);
  return { words: new Uint32Array(floats.buffer), isFloat: () => true, quantized: undefined };
}

/** NaN as one bit pattern: JavaScript keeps no payloads. */
function withPlainNaN(words: Uint32Array, isFloat: (word: number) => boolean): Uint32Array {
  return words.map((word, i) => (isFloat(i) && (word & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : word));
}

describe.each(BUILDS)('repacking in the %s build', (build) => {
  const machines = [1, 2].map((threads) => machine({ build, threads, memoryBytes: 2 ** 26 }));
  afterAll(() => Promise.all(machines.map((one) => one.dispose())));

  async function check(weight: PackedTensor<StoredType>, threads: number, bias?: Float32Array) {
    const runtime = machines[threads - 1];
    const held = await packedUpload(runtime, weight, bias);
    const { words, isFloat, quantized } = expectedPanels(weight);
    const actual = new Uint32Array(held.arena.memory.buffer, held.weight, words.length).slice();
    const expected = withPlainNaN(words, isFloat);
    expect(withPlainNaN(actual, isFloat).findIndex((word, i) => word !== expected[i])).toBe(-1);
    expect(isGgmlType(weight.dtype) ? blockForm(weight.dtype) : undefined).toEqual(quantized);
    expect(held.quantized?.gemv).toEqual(quantized && `${kernelName(build, quantized.layout)}Gemv`);
    expect(held.panels * held.panelBytes).toBe(words.byteLength);
    expect(held.byteLength).toBe(
      words.byteLength + 32 * Math.ceil(weight.shape[0] / 8) + (quantized ? TABLE_BYTES : 0),
    );
    const biases = new Float32Array(held.arena.memory.buffer, held.bias, 8 * held.panels);
    expect([...biases]).toEqual(Array.from(biases, (_, i) => bias?.[i] ?? 0));
    held.arena.free(held.weight);
  }

  it.each(TYPES)('%s gives the panels that JavaScript packs', async (dtype) => {
    const blockSize = isGgmlType(dtype) ? GGML_TYPES[dtype].blockSize : 1;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 19 }),
        fc.integer({ min: 1, max: isGgmlType(dtype) ? 3 : 11 }),
        fc.nat(1e9),
        fc.constantFrom(1, 2),
        async (rows, blocks, seed, threads) => {
          await check(stored(dtype, [rows, blocks * blockSize], seed), threads, seed % 2 ? noise(rows) : undefined);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('MXFP4 scales of every size give the panels that JavaScript packs', async () => {
    const weight = stored('MXFP4', [17, 15 * 32]);
    // 255 blocks.
    for (let byte = 0; byte < 255; byte++) weight.bytes[17 * byte] = byte;
    await check(weight, 1);
  });

  it('a large weight gives the same on several threads and in several ranges', async () => {
    await check(stored('Q4_0', [1027, 2048]), 2);
    await check(stored('Q6_K', [1027, 7 * 256]), 2);
    await check(stored('f32', [2203, 1025]), 2);
  });
});

describe('where a thread may not wait', () => {
  it('uploads that overlap wait for each other', async () => {
    const wait = vi.spyOn(Atomics, 'wait').mockImplementation(() => {
      throw new TypeError('Atomics.wait cannot be called in this context');
    });
    const runtime = machine({ build: 'simd', threads: 2, memoryBytes: 2 ** 26 });
    try {
      const weights = [1, 2, 3].map((seed) => stored('Q4_0', [1003, 1024], seed));
      // The workers start with the first jobs; later ones are pending.
      for (let round = 0; round < 5; round++) {
        const held = await Promise.all(weights.map((weight) => packedUpload(runtime, weight, undefined)));
        for (const [i, { arena, weight, bias }] of held.entries()) {
          const { words, isFloat } = expectedPanels(weights[i]);
          const actual = new Uint32Array(arena.memory.buffer, weight, (bias - weight) / 4).slice();
          const expected = withPlainNaN(words, isFloat);
          expect(withPlainNaN(actual, isFloat).findIndex((word, at) => word !== expected[at])).toBe(-1);
          arena.free(weight);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    } finally {
      wait.mockRestore();
      await runtime.dispose();
    }
  });
});

describe('uploadPacked', () => {
  const memoryBytes = 2 ** 24;

  it('computes what uploadLinear computes', async () => {
    const backend = wasmBackend();
    for (const [dtype, columns] of [['Q4_0', 96] as const, ['Q5_K', 256] as const, ['IQ4_XS', 512] as const]) {
      const weight = stored(dtype, [13, columns]);
      // Scales that are numbers.
      for (let at = 1; at < weight.bytes.length; at += GGML_TYPES[dtype].blockBytes) weight.bytes[at] &= 0x3f;
      if (dtype === 'Q5_K') for (let at = 3; at < weight.bytes.length; at += 176) weight.bytes[at] &= 0x3f;
      const uploads = [
        await backend.uploadPacked(weight, noise(13)),
        backend.uploadLinear(unpackGgml(weight), noise(13)),
      ];
      const [actual, expected] = uploads.map((uploaded) => {
        const out = new Float32Array(3 * 13);
        backend.linear(uploaded, noise(3 * columns), 3, out);
        return out;
      });
      expect(expected.every(Number.isFinite)).toBe(true);
      expect(actual).toEqual(expected);
      expect(uploads[0]).toEqual(uploads[1]);
    }
    await backend.dispose();
  });

  it('names the types that it takes', async () => {
    const backend = wasmBackend();
    for (const dtype of TYPES) expect(backend.supportsPacked(dtype)).toBe(true);
    const unpacked = (Object.keys(GGML_TYPES) as GgmlType[]).filter((type) => !TYPES.some((taken) => taken === type));
    for (const dtype of ['f64', 'i8', 'u4', 'f8_e4m3', ...unpacked] as const) {
      expect(isStoredType(dtype)).toBe(false);
      expect(backend.supportsPacked(dtype)).toBe(false);
      await expect(backend.uploadPacked(stored(dtype, [2, 256]))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    }
    await backend.dispose();
  });

  it('reads a file range by range into memory of its own', async () => {
    const backend = wasmBackend({ build: 'simd', memoryBytes });
    const weight = stored('f32', [2501, 1024]);
    const ranges: RowRange[] = [];
    const places = new Set<ArrayBufferLike | undefined>();
    const file = lazy(weight, (bytes, rows, into) => {
      ranges.push(rows);
      places.add(into?.buffer);
      return intoPlace(bytes, rows, into);
    });
    const uploaded = await backend.uploadPacked(file);
    expect(ranges.length).toBeGreaterThan(1);
    expect(ranges.every(({ start }, i) => start === (i === 0 ? 0 : ranges[i - 1].end))).toBe(true);
    expect(ranges.at(-1)?.end).toBe(2501);
    expect([...places].every((buffer) => buffer !== undefined)).toBe(true);
    expect(uploaded.byteLength).toBe(2504 * 1024 * 4 + 2504 * 4);
    await backend.dispose();
  });

  it('takes what a reader has in memory already', async () => {
    const runtime = machine({ build: 'simd', memoryBytes });
    const weight = stored('Q8_0', [9, 64]);
    const held = [await packedUpload(runtime, weight, undefined)];
    held.push(
      await packedUpload(
        runtime,
        lazy(weight, async (bytes) => bytes),
        undefined,
      ),
    );
    const [first, second] = held.map(({ arena, weight: at, bias }) => arena.bytes.slice(at, bias));
    expect(second).toEqual(first);
    await runtime.dispose();
  });

  it('fits into a memory that is nearly full', async () => {
    const runtime = machine({ build: 'simd', memoryBytes });
    const weight = stored('f32', [1400, 2048]);
    const { arena } = await packedUpload(runtime, weight, undefined);
    expect(arena.id).toBe(0);
    await runtime.dispose();
  });

  it('leaves nothing allocated when it fails', async () => {
    const runtime = machine({ build: 'simd', memoryBytes });
    const weight = stored('f32', [1200, 2048]);
    const second = (rows: RowRange) => rows.start > 0;
    const failures: [string, () => Promise<unknown>][] = [
      [
        'IO',
        () =>
          packedUpload(
            runtime,
            lazy(weight, (bytes, rows, into) =>
              second(rows) ? Promise.resolve(bytes.subarray(1)) : intoPlace(bytes, rows, into),
            ),
            undefined,
          ),
      ],
      [
        'boom',
        () =>
          packedUpload(
            runtime,
            lazy(weight, (bytes, rows, into) =>
              second(rows) ? Promise.reject({ code: 'boom' }) : intoPlace(bytes, rows, into),
            ),
            undefined,
          ),
      ],
      [
        'ABORTED',
        () => {
          const abort = new AbortController();
          const file = lazy(weight, (bytes, rows, into) => {
            abort.abort();
            return intoPlace(bytes, rows, into);
          });
          return packedUpload(runtime, file, undefined, { signal: abort.signal });
        },
      ],
      ['SHAPE', () => packedUpload(runtime, { ...weight, shape: [1200, 2047] }, undefined)],
      ['SHAPE', () => packedUpload(runtime, { ...weight, shape: [1200 * 2048] }, undefined)],
      ['SHAPE', () => packedUpload(runtime, weight, noise(3))],
      ['SHAPE', () => packedUpload(runtime, { ...stored('Q4_0', [2, 64]), shape: [2, 63] }, undefined)],
    ];
    for (const [code, work] of failures) await expect(work()).rejects.toMatchObject({ code });
    // Nearly all that weights may have, in the first memory.
    const [arena, address] = runtime.place(0.7 * memoryBytes);
    expect([arena.id, address]).toEqual([0, 65536]);
    await runtime.dispose();
  });

  it('gives up when the backend is disposed of in between', async () => {
    const backend = wasmBackend({ build: 'simd' });
    const weight = tensor(noise(4 * 32), [4, 32]);
    const file = lazy(packed('f32', [4, 32], new Uint8Array(weight.data.buffer)), async (bytes, rows, into) => {
      await backend.dispose();
      return intoPlace(bytes, rows, into);
    });
    await expect(backend.uploadPacked(file)).rejects.toMatchObject({ code: 'DEVICE' });
    await expect(backend.uploadPacked(file)).rejects.toMatchObject({ code: 'DEVICE' });
  });
});

import { decodeGgml } from '@halftone/formats';
import { GGML_TYPES, type GgmlType, isHalftoneError, packed } from '@halftone/tensor';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { ggmlDecoder, type WasmRuntime, wasmRuntime } from '../src/index.js';
import { BUILDS } from './product.js';

const TYPES = Object.keys(GGML_TYPES) as GgmlType[];
const DECODED: readonly GgmlType[] = [
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
];

/** Where the binary16 factors of a block lie. */
const FACTORS: Readonly<Partial<Record<GgmlType, readonly number[]>>> = {
  ...{ Q4_0: [0], Q4_1: [0, 2], Q5_0: [0], Q5_1: [0, 2], Q8_0: [0], Q2_K: [80, 82], Q3_K: [108] },
  ...{ Q4_K: [0, 2], Q5_K: [0, 2], Q6_K: [208], IQ4_NL: [0], IQ4_XS: [0] },
};

/** Zeros, subnormals, the smallest and the largest numbers, infinities and NaN, of both signs. */
const HOSTILE = [0, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x7c00, 0x7e00, 0x7c01].flatMap((word) => [word, word | 0x8000]);

function randomBlocks(type: GgmlType, blocks: number, seed: number): Uint8Array {
  let state = seed;
  return new Uint8Array(blocks * GGML_TYPES[type].blockBytes).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

function reference(type: GgmlType, bytes: Uint8Array): Float32Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  return decodeGgml(packed(type, [bytes.length / blockBytes, blockSize], bytes));
}

/** Bits, with all NaN alike: JavaScript keeps no payloads. */
function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer).map((word) => ((word & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : word));
}

/** Index of the first value that differs, or -1. */
function firstDifference(actual: Float32Array, expected: Float32Array): number {
  const words = bits(expected);
  return actual.length === expected.length ? bits(actual).findIndex((word, i) => word !== words[i]) : 0;
}

/** A copy in kernel memory that starts at any byte. */
function placed(runtime: WasmRuntime, bytes: Uint8Array, shift: number): Uint8Array {
  const memory = runtime.allocate(Math.ceil((bytes.length + shift) / 4));
  const copy = new Uint8Array(memory.buffer, memory.byteOffset + shift, bytes.length);
  copy.set(bytes);
  return copy;
}

function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

describe.each(BUILDS)('ggmlDecoder in the %s build', (build) => {
  const runtimes = [1, 2].map((threads) => wasmRuntime({ build, threads, memoryBytes: 2 ** 27 }));
  const [decoder, threaded] = runtimes.map(ggmlDecoder);
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it.each(DECODED)('%s gives the bits of decodeGgml', (type) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(1e9), (blocks, seed) => {
        const bytes = randomBlocks(type, blocks, seed);
        const out = new Float32Array(blocks * GGML_TYPES[type].blockSize + 3).fill(99);
        decoder.decode(type, bytes, out.subarray(0, -3));
        expect(firstDifference(out.subarray(0, -3), reference(type, bytes))).toBe(-1);
        expect([...out.subarray(-3)]).toEqual([99, 99, 99]);
      }),
      { numRuns: 40 },
    );
  });

  it.each(Object.entries(FACTORS) as [GgmlType, readonly number[]][])('%s takes every kind of factor', (type, at) => {
    const { blockBytes, blockSize } = GGML_TYPES[type];
    const bytes = randomBlocks(type, HOSTILE.length ** at.length, 7);
    for (let block = 0; block * blockBytes < bytes.length; block++) {
      for (const [i, offset] of at.entries()) {
        const word = HOSTILE[Math.floor(block / HOSTILE.length ** i) % HOSTILE.length];
        bytes.set([word & 255, word >> 8], block * blockBytes + offset);
      }
    }
    const out = new Float32Array((bytes.length / blockBytes) * blockSize);
    decoder.decode(type, bytes, out);
    expect(firstDifference(out, reference(type, bytes))).toBe(-1);
  });

  it('MXFP4 takes every scale, that of 255 too', () => {
    const bytes = randomBlocks('MXFP4', 256, 3);
    for (let byte = 0; byte < 256; byte++) bytes[17 * byte] = byte;
    const out = new Float32Array(256 * 32);
    decoder.decode('MXFP4', bytes, out);
    expect(firstDifference(out, reference('MXFP4', bytes))).toBe(-1);
  });

  it('gives the same wherever the arrays are, in pieces and on several threads', () => {
    for (const [type, blocks] of [['Q8_0', 5003] as const, ['Q3_K', 701] as const]) {
      const bytes = randomBlocks(type, blocks, 5);
      const expected = reference(type, bytes);
      for (const [i, runtime] of runtimes.entries()) {
        for (const from of [bytes, placed(runtime, bytes, 0), placed(runtime, bytes, 3)]) {
          for (const out of [new Float32Array(expected.length), runtime.allocate(expected.length)]) {
            [decoder, threaded][i].decode(type, from, out);
            expect(firstDifference(out, expected)).toBe(-1);
          }
        }
      }
    }
  });

  it('decodes to kernel memory what does not wait there at once', () => {
    const bytes = randomBlocks('Q8_0', 250_003, 5);
    const out = runtimes[1].allocate(250_003 * 32);
    threaded.decode('Q8_0', bytes, out);
    expect(firstDifference(out, reference('Q8_0', bytes))).toBe(-1);
  });

  it('reads and writes nothing but what it is given', () => {
    const [runtime] = runtimes;
    for (const type of DECODED) {
      const bytes = placed(runtime, randomBlocks(type, 3, 9), 1);
      const out = runtime.allocate(3 * GGML_TYPES[type].blockSize + 8).fill(99);
      decoder.decode(type, bytes, out.subarray(4, -4));
      expect([...out.subarray(0, 4), ...out.subarray(-4)]).toEqual(new Array(8).fill(99));
      expect(firstDifference(out.subarray(4, -4), reference(type, bytes.slice()))).toBe(-1);
    }
  });

  it('names the types that it takes and refuses others', () => {
    expect(TYPES.filter((type) => decoder.supports(type)).sort()).toEqual([...DECODED].sort());
    for (const type of ['f32', 'q4_0', '__proto__', 'IQ3_S'] as GgmlType[]) {
      expect(decoder.supports(type)).toBe(false);
      expect(code(() => decoder.decode(type, new Uint8Array(0), new Float32Array(0)))).toBe('UNSUPPORTED');
    }
  });

  it('takes no blocks at all and refuses what does not fit', () => {
    expect(code(() => decoder.decode('Q4_0', new Uint8Array(0), new Float32Array(0)))).toBe('nothing thrown');
    expect(code(() => decoder.decode('Q4_0', new Uint8Array(19), new Float32Array(32)))).toBe('SHAPE');
    expect(code(() => decoder.decode('Q4_0', new Uint8Array(18), new Float32Array(31)))).toBe('SHAPE');
    expect(code(() => decoder.decode('Q4_0', new Uint8Array(18), new Float32Array(33)))).toBe('SHAPE');
  });
});

describe('ggmlDecoder', () => {
  it('decodes to kernel memory in turns where a thread may not wait', async () => {
    const wait = vi.spyOn(Atomics, 'wait').mockImplementation(() => {
      throw new TypeError('Atomics.wait cannot be called in this context');
    });
    const runtime = wasmRuntime({ build: 'simd', threads: 2, memoryBytes: 2 ** 26 });
    try {
      const decoder = ggmlDecoder(runtime);
      const bytes = [1, 2, 3].map((seed) => randomBlocks('Q4_K', 1001, seed));
      const expected = bytes.map((one) => reference('Q4_K', one));
      // The workers start with the first jobs; later ones are pending.
      for (let round = 0; round < 5; round++) {
        const outs = bytes.map(() => runtime.allocate(1001 * 256));
        await Promise.all(bytes.map((one, i) => decoder.decode('Q4_K', one, outs[i])));
        for (const [i, out] of outs.entries()) expect(firstDifference(out, expected[i])).toBe(-1);
        for (const out of outs) runtime.free(out);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    } finally {
      wait.mockRestore();
      await runtime.dispose();
    }
  });

  it('refuses work after dispose and runtimes of others', async () => {
    const runtime = wasmRuntime({ threads: 1 });
    const decoder = ggmlDecoder(runtime);
    await runtime.dispose();
    expect(code(() => decoder.decode('Q4_0', new Uint8Array(18), new Float32Array(32)))).toBe('DEVICE');
    expect(code(() => ggmlDecoder({} as WasmRuntime))).toBe('RANGE');
  });
});

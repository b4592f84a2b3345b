import { HalftoneError } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { meterAllocations } from '../fuzz/allocations.js';
import { type FuzzTarget, fuzz } from '../fuzz/fuzz.js';
import { FUZZ_TARGETS } from '../fuzz/targets.js';

const target = (read: FuzzTarget['read']): FuzzTarget => ({
  name: 'test',
  seeds: () => [new Uint8Array(300)],
  read,
});

/** The seed alone passes: everything else is damaged. */
const isDamaged = (bytes: Uint8Array) => bytes.length !== 300 || bytes.some((byte) => byte !== 0);

describe('fuzzing', () => {
  it.each(FUZZ_TARGETS.map((each) => [each.name, each] as const))('%s survives some', async (_name, each) => {
    expect((await fuzz(each, { runs: 300, seed: 2 })).failures).toEqual([]);
  });

  it('tries the same inputs for the same seed, and repeats one of them', async () => {
    const inputs = async (options: { runs: number; seed?: number; first?: number }) => {
      const seen: string[] = [];
      await fuzz(
        target((bytes) => seen.push(Buffer.from(bytes).toString('hex'))),
        options,
      );
      return seen.slice(1);
    };
    const first = await inputs({ runs: 50 });
    expect(await inputs({ runs: 50 })).toEqual(first);
    expect(await inputs({ runs: 1, first: 17 })).toEqual([first[17]]);
    expect(await inputs({ runs: 50, seed: 2 })).not.toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(40);
  });

  it('takes HalftoneErrors and reports all else', async () => {
    const problemOf = async (damaged: (bytes: Uint8Array) => unknown) => {
      const read = (bytes: Uint8Array) => (isDamaged(bytes) ? damaged(bytes) : undefined);
      const { failures, refused } = await fuzz(target(read), { runs: 20 });
      return failures[0]?.problem ?? (refused > 0 ? 'refused' : 'read');
    };
    const refuse = () => {
      throw new HalftoneError('FORMAT', 'no', { where: 'test' });
    };
    expect(await problemOf(refuse)).toBe('refused');
    expect(await problemOf(async () => refuse())).toBe('refused');
    expect(await problemOf(() => 1)).toBe('read');
    expect(await problemOf(() => new DataView(new ArrayBuffer(1)).getUint32(0))).toContain('RangeError');
    expect(await problemOf(() => new Uint8Array(1 << 20))).toContain('allocated 1048576 bytes');
    expect(await problemOf(() => Promise.reject(undefined))).toContain('threw nothing');
  });

  it('counts what arrays and buffers ask for, views and copies told apart', () => {
    const before = [globalThis.Uint8Array, globalThis.Array, Buffer.alloc, Uint8Array.prototype.slice];
    const meter = meterAllocations();
    try {
      const taken = (work: () => unknown) => {
        meter.take();
        work();
        return meter.take();
      };
      const buffer = new ArrayBuffer(64);
      const floats = new Float32Array(10);
      expect(taken(() => new Float64Array(3))).toBe(24);
      expect(taken(() => new Uint8Array(buffer, 4, 8))).toBe(0);
      expect(taken(() => new Float64Array(floats))).toBe(80);
      expect(taken(() => Float64Array.from([1, 2]))).toBe(16);
      expect(taken(() => floats.slice(0, 2))).toBe(8);
      expect(taken(() => floats.subarray(0, 2))).toBe(0);
      expect(taken(() => buffer.slice(0, 5))).toBe(5);
      expect(taken(() => new Array(100))).toBe(800);
      expect(taken(() => Array.from({ length: 7 }))).toBe(56);
      expect(taken(() => Buffer.alloc(33))).toBe(33);
      expect(taken(() => expect(() => new Uint8Array(2 ** 53)).toThrow(RangeError))).toBeGreaterThanOrEqual(2 ** 53);
      expect(new Uint8Array(2) instanceof Uint8Array && Array.isArray([])).toBe(true);
    } finally {
      meter.restore();
    }
    expect([globalThis.Uint8Array, globalThis.Array, Buffer.alloc, Uint8Array.prototype.slice]).toEqual(before);
  });
});

import { addValue, createMoments, createRandom, variance } from '@halftone/numerics';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

/** xoshiro128** on BigInt, written from the reference C code's definition. */
function* xoshiro(seedState: number[]): Generator<number> {
  const mask = 0xffffffffn;
  const rotl = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask;
  const s = seedState.map((word) => BigInt(word >>> 0));
  for (;;) {
    yield Number((rotl((s[1]! * 5n) & mask, 7n) * 9n) & mask);
    const t = (s[1]! << 9n) & mask;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotl(s[3]!, 11n);
  }
}

/** splitmix32 with the murmur3 finalizer on BigInt. */
function splitmix(seed: number): number[] {
  const mask = 0xffffffffn;
  let state = BigInt(seed);
  return Array.from({ length: 4 }, () => {
    state = (state + 0x9e3779b9n) & mask;
    let z = state;
    z = ((z ^ (z >> 16n)) * 0x85ebca6bn) & mask;
    z = ((z ^ (z >> 13n)) * 0xc2b2ae35n) & mask;
    return Number(z ^ (z >> 16n));
  });
}

describe('createRandom', () => {
  it('follows xoshiro128** from a splitmix state', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const low = splitmix(seed);
        const high = splitmix(0);
        const reference = xoshiro([low[0]!, low[1]! ^ high[0]!, low[2]!, low[3]! ^ high[1]!]);
        const random = createRandom(seed);
        for (let i = 0; i < 50; i++) expect(random.uint32()).toBe(reference.next().value);
      }),
    );
  });

  it('repeats for a seed and differs between seeds, large and negative ones too', () => {
    const seeds = [0, 1, 2, -1, 2 ** 32, 2 ** 40 + 1, Number.MAX_SAFE_INTEGER];
    const first = seeds.map((seed) => createRandom(seed).uniform());
    expect(seeds.map((seed) => createRandom(seed).uniform())).toEqual(first);
    expect(new Set(first).size).toBe(seeds.length);
    expect(() => createRandom(0.5)).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('is uniform in [0, 1) and normal with mean 0 and variance 1', () => {
    const random = createRandom(7);
    const uniform = createMoments();
    const normal = createMoments();
    for (let i = 0; i < 50_000; i++) {
      const value = random.uniform();
      if (!(value >= 0 && value < 1)) expect(value).toBeLessThan(1);
      addValue(uniform, value);
      addValue(normal, random.normal());
    }
    // Ten standard errors wide.
    expect(Math.abs(uniform.mean - 0.5)).toBeLessThan(10 * Math.sqrt(1 / 12 / 50_000));
    expect(Math.abs(variance(uniform) - 1 / 12)).toBeLessThan(0.005);
    expect(Math.abs(normal.mean)).toBeLessThan(10 / Math.sqrt(50_000));
    expect(Math.abs(variance(normal) - 1)).toBeLessThan(10 * Math.sqrt(2 / 50_000));
  });

  it('draws whole numbers from every bound', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 32 }), fc.integer(), (below, seed) => {
        const value = createRandom(seed).integer(below);
        expect(Number.isInteger(value) && value >= 0 && value < below).toBe(true);
      }),
    );
    const random = createRandom(1);
    const counts = [0, 0, 0];
    for (let i = 0; i < 3000; i++) counts[random.integer(3)]!++;
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(300);
    expect(() => random.integer(0)).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });

  it('shuffles to a permutation, typed arrays too', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer(), (items, seed) => {
        const shuffled = createRandom(seed).shuffle([...items]);
        expect(shuffled.sort((a, b) => a - b)).toEqual([...items].sort((a, b) => a - b));
      }),
    );
    expect(createRandom(1).shuffle(Uint8Array.from({ length: 99 }, (_, i) => i))).not.toEqual(
      Uint8Array.from({ length: 99 }, (_, i) => i),
    );
  });

  it('forks repeatably into other sequences', () => {
    const a = createRandom(5);
    const b = createRandom(5);
    const fork = a.fork();
    const value = fork.uniform();
    expect(b.fork().uniform()).toBe(value);
    expect(a.fork().uniform()).not.toBe(value);
  });
});

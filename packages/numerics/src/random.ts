/**
 * Seeded random numbers: xoshiro128** 1.1 (Blackman and Vigna, arXiv 1805.01407), its state filled by splitmix32.
 * Period 2^128 - 1. Not for cryptography.
 */
import { HalftoneError } from '@halftone/tensor';

export interface Random {
  /** The next 32 random bits, 0 .. 2^32 - 1. */
  uint32(): number;
  /** Uniform in `[0, 1)`, a multiple of 2^-53. */
  uniform(): number;
  /** Standard normal (Box-Muller). Its last bit may differ between JavaScript engines, as `Math.log` may. */
  normal(): number;
  /** A whole number in `0 .. below - 1` without bias, `below` at most 2^32. */
  integer(below: number): number;
  /** Shuffles in place (Fisher-Yates) and returns the same array. */
  shuffle<A extends { [index: number]: unknown; readonly length: number }>(items: A): A;
  /** An independent generator that depends on this one's state: give one to each worker. */
  fork(): Random;
}

/** A generator that gives the same numbers for the same seed (a whole number) on every machine. */
export function createRandom(seed: number): Random {
  if (!Number.isSafeInteger(seed)) {
    throw new HalftoneError('RANGE', `seed ${seed} is not a whole number`, {
      where: 'createRandom',
      details: { seed },
    });
  }
  const low = splitmix32(seed >>> 0);
  const high = splitmix32(Math.floor(seed / 2 ** 32) >>> 0);
  return generator([low(), low() ^ high(), low(), low() ^ high()]);
}

function generator(state: [number, number, number, number]): Random {
  let [a, b, c, d] = state;
  let spare: number | undefined;

  function uint32(): number {
    const scrambled = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return scrambled;
  }

  function uniform(): number {
    return ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) * 2 ** -53;
  }

  function normal(): number {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  function integer(below: number): number {
    if (!Number.isInteger(below) || below < 1 || below > 2 ** 32) {
      throw new HalftoneError('RANGE', `integer(${below}): the bound must be a whole number from 1 to 2^32`, {
        where: 'random',
        details: { below },
      });
    }
    // Numbers from the last, incomplete run of `below` values would favour the small ones.
    const limit = 2 ** 32 - (2 ** 32 % below);
    let bits = uint32();
    while (bits >= limit) bits = uint32();
    return bits % below;
  }

  function shuffle<A extends { [index: number]: unknown; readonly length: number }>(items: A): A {
    for (let i = items.length - 1; i > 0; i--) {
      const j = integer(i + 1);
      const item = items[i];
      items[i] = items[j];
      items[j] = item;
    }
    return items;
  }

  function fork(): Random {
    const next = splitmix32(uint32());
    return generator([next() ^ uint32(), next(), next() ^ uint32(), next()]);
  }

  return { uint32, uniform, normal, integer, shuffle, fork };
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** The splitmix sequence in 32 bits with MurmurHash3's finalizer: spreads small seeds over the whole state. */
function splitmix32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return z ^ (z >>> 16);
  };
}

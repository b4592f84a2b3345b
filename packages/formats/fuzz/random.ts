/** Random numbers that are the same in every run: `next` gives [0, 1). */
export interface Random {
  next(): number;
  /** A whole number from 0 to `count - 1`. */
  below(count: number): number;
  pick<T>(items: readonly T[]): T;
}

/** Source: mulberry32 by Tommy Ettinger, after mixing seed and stream. */
export function seededRandom(seed: number, stream: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35);
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count: number) => Math.floor(next() * count);
  return { next, below, pick: (items) => items[below(items.length)] as (typeof items)[number] };
}

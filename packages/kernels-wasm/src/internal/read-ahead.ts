/** Products with one row that are timed with and without reading ahead, each. */
const TRIALS = 6;
/** Reading ahead must save at least this part of the time. */
const GAIN = 0.05;
/** Smaller weights stay in caches. */
const SMALLEST_WEIGHT = 2 ** 20;

/**
 * Whether a one-row kernel should read each panel once before it computes with it. Where memory answers slowly and the processor
 * prefetches little (virtual machines), a bare loop of reads has more of them under way than the kernel does, and products run up
 * to a quarter faster; where prefetching works, or weights lie in a cache, they run slower. So it is tried out for each weight.
 * Results are the same either way.
 */
export interface ReadAhead {
  trials: number;
  /** Shortest times in milliseconds. */
  plain: number;
  ahead: number;
}

export function readAhead(byteLength: number): ReadAhead {
  const trials = byteLength < SMALLEST_WEIGHT ? 2 * TRIALS : 0;
  return { trials, plain: Number.POSITIVE_INFINITY, ahead: Number.POSITIVE_INFINITY };
}

export function isTrying({ trials }: ReadAhead): boolean {
  return trials < 2 * TRIALS;
}

/** For the next product. */
export function readsAhead(state: ReadAhead): boolean {
  return isTrying(state) ? state.trials % 2 === 1 : state.ahead < state.plain * (1 - GAIN);
}

/** The time that the last product took. */
export function recordTrial(state: ReadAhead, milliseconds: number): void {
  if (state.trials % 2 === 1) state.ahead = Math.min(state.ahead, milliseconds);
  else state.plain = Math.min(state.plain, milliseconds);
  state.trials++;
}

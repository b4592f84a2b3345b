import { HalftoneError, type KvCache } from '@halftone/tensor';

/** The positions `start, start + 1, ...`, in `out` when it has that length. */
export function consecutivePositions(start: number, length: number, out?: Int32Array): Int32Array {
  const positions = out?.length === length ? out : new Int32Array(length);
  for (let i = 0; i < length; i++) positions[i] = start + i;
  return positions;
}

/** The position after the last one that a cache holds. */
export function nextPosition(cache: KvCache | undefined): number {
  if (cache === undefined || cache.length(0, 0) === 0) return 0;
  const { positions, length } = cache.view(0, 0);
  return positions[length - 1] + 1;
}

/** Checks that positions increase and stay inside the context. Throws `SHAPE` or `RANGE`. */
export function sequencePositions(positions: ArrayLike<number>, length: number, contextLength: number): Int32Array {
  if (positions.length !== length) {
    throw new HalftoneError('SHAPE', `${length} tokens have ${positions.length} positions`, { where: 'forward' });
  }
  for (let i = 0, last = -1; i < length; i++) {
    const position = positions[i];
    if (!Number.isInteger(position) || position <= last) {
      throw new HalftoneError('RANGE', `position ${position} at ${i} is not a whole number above ${last}`, {
        where: 'forward',
        details: { index: i, position },
      });
    }
    if (position >= contextLength) {
      throw new HalftoneError(
        'RANGE',
        `position ${position} is outside the context of ${contextLength} tokens; use a shorter input or another window`,
        { where: 'forward', details: { index: i, position, contextLength } },
      );
    }
    last = position;
  }
  return positions instanceof Int32Array ? positions : Int32Array.from(positions);
}

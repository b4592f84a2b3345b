/** How many of `length` increasing positions are at most `position`. Positions without gaps cost no search. */
export function entriesUpTo(positions: Int32Array, length: number, position: number): number {
  if (length === 0 || position < positions[0]) return 0;
  if (position >= positions[length - 1]) return length;
  const guess = position - positions[0];
  if (guess < length && positions[guess] === position) return guess + 1;
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (positions[middle] <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Writes for each query the entries that it sees: `ranges[at + 2 * row]` is the first, the next element their end. Returns how
 * many the queries see together.
 */
export function writeVisibleEntries(
  entryPositions: Int32Array,
  length: number,
  positions: Int32Array,
  window: number,
  ranges: Int32Array,
  at: number,
): number {
  let seen = 0;
  for (let row = 0; row < positions.length; row++) {
    const end = entriesUpTo(entryPositions, length, positions[row]);
    const start =
      window === Number.POSITIVE_INFINITY ? 0 : entriesUpTo(entryPositions, length, positions[row] - window);
    ranges[at + 2 * row] = start;
    ranges[at + 2 * row + 1] = end;
    seen += end - start;
  }
  return seen;
}

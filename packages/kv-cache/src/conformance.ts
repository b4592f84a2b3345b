import { isHalftoneError, type KvCache, type KvShape } from '@halftone/tensor';

/** One check of a conformance kit. `run` throws an `Error` that says what differs. Runs in any test runner. */
export interface ConformanceCheck {
  readonly name: string;
  run(): void;
}

export interface KvCacheCheckOptions {
  /** Largest allowed difference of a stored value from the appended one, as a share of 1. Default 0: exact. */
  readonly tolerance?: number;
  /**
   * The cache may forget entries by itself (windows, eviction). Entries that are held must still be right.
   * Default false: every appended token is held.
   */
  readonly evicts?: boolean;
}

const SHAPE: KvShape = { layers: 3, kvHeads: 2, headDim: 32 };
const WIDTH = SHAPE.kvHeads * SHAPE.headDim;

/**
 * Checks that every `KvCache` must pass. `create` returns a new, empty cache of the given shape, with room for 100 tokens.
 *
 * Lossy caches give a `tolerance` and may decode the same token differently before and after it leaves a window.
 */
export function kvCacheChecks(
  create: (shape: KvShape) => KvCache,
  options: KvCacheCheckOptions = {},
): ConformanceCheck[] {
  const { tolerance = 0, evicts = false } = options;

  function verify(cache: KvCache, layer: number, positions: readonly number[]): void {
    for (let head = 0; head < SHAPE.kvHeads; head++) {
      const at = `layer ${layer}, head ${head}`;
      const view = cache.view(layer, head);
      equal(view.length, cache.length(layer, head), `${at}: length of the view`);
      atLeast(view.keys.length, view.length * SHAPE.headDim, `${at}: size of keys`);
      atLeast(view.values.length, view.length * SHAPE.headDim, `${at}: size of values`);
      atLeast(view.positions.length, view.length, `${at}: size of positions`);
      const seen = view.positions.subarray(0, view.length);
      if (!evicts) equal(String([...seen]), String(positions), `${at}: positions`);
      for (let entry = 0; entry < view.length; entry++) {
        const position = view.positions[entry];
        if (!positions.includes(position)) throw new Error(`${at}: position ${position} was never appended`);
        if (entry > 0 && position <= view.positions[entry - 1]) throw new Error(`${at}: positions do not increase`);
        for (let i = 0; i < SHAPE.headDim; i++) {
          close(
            view.keys[entry * SHAPE.headDim + i],
            keyAt(layer, position, head, i),
            tolerance,
            `${at}: key at ${position}`,
          );
          close(
            view.values[entry * SHAPE.headDim + i],
            -keyAt(layer, position, head, i),
            tolerance,
            `${at}: value at ${position}`,
          );
        }
      }
    }
  }

  return [
    {
      name: 'reports its shape and starts empty',
      run() {
        const cache = create(SHAPE);
        equal(cache.layers, SHAPE.layers, 'layers');
        equal(cache.kvHeads, SHAPE.kvHeads, 'kvHeads');
        equal(cache.headDim, SHAPE.headDim, 'headDim');
        for (let layer = 0; layer < SHAPE.layers; layer++) verify(cache, layer, []);
      },
    },
    {
      name: 'holds what was appended, layer by layer',
      run() {
        const cache = create(SHAPE);
        for (let layer = 0; layer < SHAPE.layers; layer++) append(cache, layer, range(0, 40));
        for (let layer = 0; layer < SHAPE.layers; layer++) verify(cache, layer, range(0, 40));
      },
    },
    {
      name: 'append in pieces equals append at once',
      run() {
        const once = create(SHAPE);
        const pieces = create(SHAPE);
        append(once, 1, range(0, 70));
        for (const [from, to] of [
          [0, 1],
          [1, 20],
          [20, 20],
          [20, 53],
          [53, 54],
          [54, 70],
        ])
          append(pieces, 1, range(from, to));
        verify(pieces, 1, range(0, 70));
        if (!evicts) equal(pieces.byteLength, once.byteLength, 'byteLength after pieces');
        verify(pieces, 0, []);
      },
    },
    {
      name: 'copies its arguments',
      run() {
        const cache = create(SHAPE);
        const { keys, values, positions } = rows(0, [3, 9]);
        cache.append(0, keys, values, positions);
        keys.fill(5);
        values.fill(5);
        positions.fill(5);
        verify(cache, 0, [3, 9]);
      },
    },
    {
      name: 'keeps explicit positions with gaps',
      run() {
        const cache = create(SHAPE);
        append(cache, 2, [2, 3, 10]);
        append(cache, 2, [40, 41]);
        verify(cache, 2, [2, 3, 10, 40, 41]);
      },
    },
    {
      name: 'truncate forgets a position and what follows, in every layer',
      run() {
        const cache = create(SHAPE);
        append(cache, 0, range(0, 30));
        append(cache, 1, [1, 4, 12, 50]);
        cache.truncate(12);
        verify(cache, 0, range(0, 12));
        verify(cache, 1, [1, 4]);
        append(cache, 0, range(12, 20));
        append(cache, 1, [12]);
        verify(cache, 0, range(0, 20));
        verify(cache, 1, [1, 4, 12]);
        cache.truncate(1000);
        verify(cache, 0, range(0, 20));
      },
    },
    {
      name: 'clear starts over at position 0',
      run() {
        const cache = create(SHAPE);
        append(cache, 0, range(0, 30));
        cache.clear();
        for (let layer = 0; layer < SHAPE.layers; layer++) verify(cache, layer, []);
        append(cache, 0, range(0, 5));
        verify(cache, 0, range(0, 5));
      },
    },
    {
      name: 'byteLength follows the entries',
      run() {
        const cache = create(SHAPE);
        const empty = cache.byteLength;
        append(cache, 0, range(0, 64));
        if (!(cache.byteLength > empty)) throw new Error('byteLength did not rise after an append');
        cache.clear();
        equal(cache.byteLength, empty, 'byteLength after clear');
      },
    },
    {
      name: 'refuses wrong sizes, positions and indices, and stays as it was',
      run() {
        const cache = create(SHAPE);
        append(cache, 0, range(0, 6));
        const { keys, values, positions } = rows(0, [6, 7]);
        refuses('SHAPE', 'keys of the wrong size', () => cache.append(0, keys.subarray(1), values, positions));
        refuses('SHAPE', 'values of the wrong size', () => cache.append(0, keys, values.subarray(WIDTH), positions));
        refuses('SHAPE', 'too many positions', () => cache.append(0, keys, values, Int32Array.of(6, 7, 8)));
        refuses('RANGE', 'a repeated position', () => append(cache, 0, [5, 6]));
        refuses('RANGE', 'falling positions', () => append(cache, 0, [8, 7]));
        refuses('RANGE', 'a negative position', () => append(cache, 1, [-1]));
        for (const layer of [-1, SHAPE.layers, 0.5]) {
          refuses('RANGE', `append to layer ${layer}`, () => cache.append(layer, keys, values, positions));
          refuses('RANGE', `view of layer ${layer}`, () => cache.view(layer, 0));
        }
        for (const head of [-1, SHAPE.kvHeads]) {
          refuses('RANGE', `view of head ${head}`, () => cache.view(0, head));
          refuses('RANGE', `length of head ${head}`, () => cache.length(0, head));
        }
        verify(cache, 0, range(0, 6));
        verify(cache, 1, []);
      },
    },
  ];
}

/** A value between -1 and 1 that tells layer, position, head and element apart. */
function keyAt(layer: number, position: number, head: number, element: number): number {
  return Math.fround(Math.sin(1 + layer * 7.3 + position * 1.37 + head * 3.1 + element * 0.61));
}

function rows(
  layer: number,
  positions: readonly number[],
): { keys: Float32Array; values: Float32Array; positions: Int32Array } {
  const keys = new Float32Array(positions.length * WIDTH);
  positions.forEach((position, token) => {
    for (let head = 0; head < SHAPE.kvHeads; head++) {
      for (let i = 0; i < SHAPE.headDim; i++)
        keys[token * WIDTH + head * SHAPE.headDim + i] = keyAt(layer, position, head, i);
    }
  });
  return { keys, values: keys.map((key) => -key), positions: Int32Array.from(positions) };
}

function append(cache: KvCache, layer: number, positions: readonly number[]): void {
  const row = rows(layer, positions);
  cache.append(layer, row.keys, row.values, row.positions);
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

function equal(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what} is ${actual}, expected ${expected}`);
}

function atLeast(actual: number, least: number, what: string): void {
  if (!(actual >= least)) throw new Error(`${what} is ${actual}, expected ${least} or more`);
}

function close(actual: number, expected: number, tolerance: number, what: string): void {
  if (!(Math.abs(actual - expected) <= tolerance))
    throw new Error(`${what} is ${actual}, expected ${expected} within ${tolerance}`);
}

function refuses(code: string, what: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (isHalftoneError(error) && error.code === code) return;
    throw new Error(`${what}: expected a HalftoneError with code ${code}, got ${error}`, { cause: error });
  }
  throw new Error(`${what} was accepted; expected a HalftoneError with code ${code}`);
}

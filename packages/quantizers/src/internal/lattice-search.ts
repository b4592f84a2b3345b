/**
 * The exact nearest vector of a lattice under weights.
 *
 * Every coordinate of a lattice vector takes one of a few levels. Rounding each coordinate by itself gives the cheapest
 * combination of levels; where that is no lattice vector, dearer combinations are visited, coordinates with small surcharges
 * first, and dropped as soon as their surcharge reaches that of the best lattice vector so far. About as many combinations
 * are visited as there are for each vector of the lattice. ggml looks through a list of neighbours of the rounded point, which
 * knows nothing of the weights.
 */
export interface LatticeSearch {
  readonly dimension: number;
  /** `[entries, dimension]` */
  readonly vectors: Float32Array;
  /** The entry `v` with the least `sum of w (x - v)²` over `x[at .. at + dimension)`, for weights of at least 0. */
  nearest(x: Float64Array, w: Float64Array, at: number): number;
}

/** Builds the tables: O(entries * dimension). The search keeps scratch memory, so it serves one caller at a time. */
export function latticeSearch(vectors: Float32Array, dimension: number): LatticeSearch {
  const levels = Float64Array.from(new Set(vectors)).sort();
  const count = levels.length;
  const strides = Int32Array.from({ length: dimension }, (_, i) => count ** i);
  const entryOf = entriesByLevels(vectors, levels, strides);
  // Midpoints of levels are multiples of a half, so that the nearest level is known from the half that a value lies in.
  const lowestHalf = 2 * levels[0];
  const highestCell = 2 * levels[count - 1] - lowestHalf;
  const levelOfCell = Uint8Array.from({ length: highestCell + 1 }, (_, cell) =>
    levels.reduce((level, _value, i) => (i > 0 && cell + lowestHalf >= levels[i - 1] + levels[i] ? i : level), 0),
  );

  const rounded = new Int32Array(dimension);
  /** Coordinates by what changing them by one level costs, cheapest first, and these costs. */
  const order = new Int32Array(dimension);
  const surcharges = new Float64Array(dimension);
  // Numbers that are no integers live in arrays: as variables or arguments of closures each would be a new object.
  /** Surcharge of the combination at each depth. */
  const costs = new Float64Array(dimension + 1);
  const bestCost = new Float64Array(1);
  let bestEntry = 0;

  const visit = (x: Float64Array, w: Float64Array, at: number, from: number, depth: number, key: number): void => {
    const cost = costs[depth];
    for (let i = from; i < dimension; i++) {
      if (cost + surcharges[i] >= bestCost[0]) return;
      const coordinate = order[i];
      const start = rounded[coordinate];
      const target = x[at + coordinate];
      const weight = w[at + coordinate];
      for (let direction = -1; direction <= 1; direction += 2) {
        for (let level = start + direction; level >= 0 && level < count; level += direction) {
          const total = cost + surcharge(levels[start], levels[level], target, weight);
          if (total >= bestCost[0]) break;
          const changed = key + (level - start) * strides[coordinate];
          const entry = entryOf[changed];
          if (entry >= 0) {
            bestCost[0] = total;
            bestEntry = entry;
            break;
          }
          costs[depth + 1] = total;
          visit(x, w, at, i + 1, depth + 1, changed);
        }
      }
    }
  };

  const nearest = (x: Float64Array, w: Float64Array, at: number): number => {
    let key = 0;
    for (let i = 0; i < dimension; i++) {
      const cell = 2 * x[at + i] - lowestHalf;
      const level = levelOfCell[cell > 0 ? (cell < highestCell ? cell | 0 : highestCell) : 0];
      key += level * strides[i];
      rounded[i] = level;
    }
    const entry = entryOf[key];
    if (entry >= 0) return entry;
    for (let i = 0; i < dimension; i++) {
      const level = rounded[i];
      const target = x[at + i];
      const weight = w[at + i];
      const down = level > 0 ? surcharge(levels[level], levels[level - 1], target, weight) : Infinity;
      const up = level < count - 1 ? surcharge(levels[level], levels[level + 1], target, weight) : Infinity;
      const least = down < up ? down : up;
      let place = i;
      for (; place > 0 && surcharges[place - 1] > least; place--) {
        surcharges[place] = surcharges[place - 1];
        order[place] = order[place - 1];
      }
      surcharges[place] = least;
      order[place] = i;
    }
    // A tight bound keeps the search shallow; where it is too tight, nothing is found and little was visited.
    bestEntry = -1;
    let bound = surcharges[0] + surcharges[1] + surcharges[2];
    if (!(bound > 0)) bound = Number.MIN_VALUE;
    for (;;) {
      bestCost[0] = bound;
      visit(x, w, at, 0, 0, key);
      // Where even the surcharges overflow, any vector will do.
      if (bestEntry >= 0 || bound === Infinity) return Math.max(bestEntry, 0);
      bound = bound > SMALL && bound < LARGE ? 2 * bound : Infinity;
    }
  };
  return { dimension, vectors, nearest };
}

/** Outside of these the bound is dropped after one attempt, so that the search ends. */
const SMALL = 1e-300;
const LARGE = 1e300;

/** How much dearer level `to` is than `from`. */
function surcharge(from: number, to: number, value: number, weight: number): number {
  return weight * (to - from) * (from + to - 2 * value);
}

/** The entry of every combination of levels, -1 where there is none. */
function entriesByLevels(vectors: Float32Array, levels: Float64Array, strides: Int32Array): Int16Array {
  const dimension = strides.length;
  const entryOf = new Int16Array(levels.length ** dimension).fill(-1);
  for (let entry = 0; entry < vectors.length / dimension; entry++) {
    let key = 0;
    for (let i = 0; i < dimension; i++) key += levels.indexOf(vectors[entry * dimension + i]) * strides[i];
    entryOf[key] = entry;
  }
  return entryOf;
}

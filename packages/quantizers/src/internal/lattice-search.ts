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
  /** `[entries, dimension]`, without any shift. */
  readonly vectors: Float32Array;
  /**
   * The entry `v` with the least `sum of w (x - step (v + shift))²` over `x[at .. at + dimension)`, for `step > 0`, weights of
   * at least 0 and values of any sign.
   */
  nearest(x: Float64Array, w: Float64Array, at: number, step: number, shift: number): number;
}

/** Builds the tables: O(entries * dimension). The search keeps scratch memory, so it serves one caller at a time. */
export function latticeSearch(vectors: Float32Array, dimension: number): LatticeSearch {
  const levels = Float64Array.from(new Set(vectors)).sort();
  const count = levels.length;
  const midpoints = levels.subarray(1).map((level, i) => (levels[i] + level) / 2);
  const strides = Int32Array.from({ length: dimension }, (_, i) => count ** i);
  const entryOf = entriesByLevels(vectors, levels, strides);

  /** Rounded levels, and the target, weight, smallest surcharge and key stride of each coordinate, cheapest first. */
  const rounded = new Int32Array(dimension);
  const target = new Float64Array(dimension);
  const price = new Float64Array(dimension);
  const surcharge = new Float64Array(dimension);
  const stride = new Int32Array(dimension);
  let bestCost = 0;
  let bestEntry = 0;

  const visit = (from: number, key: number, cost: number): void => {
    for (let i = from; i < dimension; i++) {
      if (cost + surcharge[i] >= bestCost) return;
      const start = rounded[i];
      for (let direction = -1; direction <= 1; direction += 2) {
        for (let level = start + direction; level >= 0 && level < count; level += direction) {
          const total = cost + levelSurcharge(levels, start, level, target[i], price[i]);
          if (total >= bestCost) break;
          const changed = key + (level - start) * stride[i];
          const entry = entryOf[changed];
          if (entry >= 0) {
            bestCost = total;
            bestEntry = entry;
            break;
          }
          visit(i + 1, changed, total);
        }
      }
    }
  };

  const nearest = (x: Float64Array, w: Float64Array, at: number, step: number, shift: number): number => {
    const inverse = 1 / step;
    let key = 0;
    for (let i = 0; i < dimension; i++) {
      const value = x[at + i] * inverse - shift;
      let level = 0;
      while (level < midpoints.length && value > midpoints[level]) level++;
      key += level * strides[i];
    }
    const entry = entryOf[key];
    if (entry >= 0) return entry;
    for (let i = 0, rest = key; i < dimension; i++) {
      const level = rest % count;
      rest = (rest - level) / count;
      const value = x[at + i] * inverse - shift;
      const weight = w[at + i];
      let least = Infinity;
      if (level > 0) least = levelSurcharge(levels, level, level - 1, value, weight);
      if (level < count - 1) least = Math.min(least, levelSurcharge(levels, level, level + 1, value, weight));
      let place = i;
      while (place > 0 && surcharge[place - 1] > least) {
        surcharge[place] = surcharge[place - 1];
        rounded[place] = rounded[place - 1];
        target[place] = target[place - 1];
        price[place] = price[place - 1];
        stride[place] = stride[place - 1];
        place--;
      }
      surcharge[place] = least;
      rounded[place] = level;
      target[place] = value;
      price[place] = weight;
      stride[place] = strides[i];
    }
    // A tight bound keeps the search shallow; where it is too tight, nothing is found and little was visited.
    bestEntry = -1;
    for (let bound = surcharge[0] + surcharge[1] + surcharge[2]; bestEntry < 0; bound *= 2) {
      bestCost = bound > 0 && bound < 1e300 ? bound : bound > 0 ? Infinity : Number.MIN_VALUE;
      visit(0, key, 0);
    }
    return bestEntry;
  };
  return { dimension, vectors, nearest };
}

/** How much dearer `to` is than `from` in units of `step²`. */
function levelSurcharge(levels: Float64Array, from: number, to: number, value: number, weight: number): number {
  const a = levels[from];
  const b = levels[to];
  return weight * (b - a) * (a + b - 2 * value);
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

/**
 * Rotary position embedding, half-split: channel `i` of a head turns with channel `i + headDim / 2`.
 * Sources: Su et al., arXiv 2104.09864; the layout and the llama3 frequency correction as in transformers'
 * modeling_llama.py and modeling_rope_utils.py.
 */
import type { KernelMemory } from '@halftone/tensor';

export type RopeScaling =
  | { readonly type: 'default' }
  /** Positions are divided by `factor` (arXiv 2306.15595). */
  | { readonly type: 'linear'; readonly factor: number }
  /** Long wavelengths are divided by `factor`, short ones kept, those between blended. */
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  /** Frequency `i` is divided by `factors[i]`, as GGUF's rope_freqs.weight says. */
  | { readonly type: 'factors'; readonly factors: readonly number[] };

export interface RopeConfig {
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** Radians a position, for each of the `headDim / 2` channel pairs, in float64. */
export function ropeFrequencies(config: RopeConfig, headDim: number): Float64Array {
  return Float64Array.from({ length: headDim / 2 }, (_, pair) =>
    scaled(config.theta ** ((-2 * pair) / headDim), pair, config.scaling),
  );
}

function scaled(frequency: number, pair: number, scaling: RopeScaling): number {
  switch (scaling.type) {
    case 'default':
      return frequency;
    case 'linear':
      return frequency / scaling.factor;
    case 'factors':
      return frequency / scaling.factors[pair];
    case 'llama3': {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
      const turns = (scaling.originalContextLength * frequency) / (2 * Math.PI);
      if (turns < low) return frequency / factor;
      if (turns > high) return frequency;
      const keep = (turns - low) / (high - low);
      return (1 - keep) * (frequency / factor) + keep * frequency;
    }
  }
}

/** Cosines and sines of the angles at each position. */
export interface RopeTables {
  /** `headDim / 2` */
  readonly pairs: number;
  /** `[.., pairs]`, one row for each position that is covered. Another array after `cover`. */
  readonly cosines: Float32Array;
  readonly sines: Float32Array;
  /** Makes the tables hold positions up to this one. */
  cover(position: number): void;
  /** Gives the memory back. */
  dispose(): void;
}

/**
 * Tables for `applyRope` or the rotation of a kernel backend: computed in float64, rounded to float32. They grow to the largest
 * position that was covered, and hold `4 * headDim` bytes for each.
 */
export function ropeTables(config: RopeConfig, headDim: number, memory: KernelMemory): RopeTables {
  const frequencies = ropeFrequencies(config, headDim);
  const pairs = frequencies.length;
  let length = 0;
  let cosines: Float32Array = new Float32Array(0);
  let sines: Float32Array = new Float32Array(0);

  const replace = (nextCosines: Float32Array, nextSines: Float32Array) => {
    memory.free(cosines);
    memory.free(sines);
    cosines = nextCosines;
    sines = nextSines;
  };
  const grow = (size: number) => {
    const nextCosines = memory.allocate(size * pairs);
    const nextSines = memory.allocate(size * pairs);
    nextCosines.set(cosines);
    nextSines.set(sines);
    for (let position = length; position < size; position++) {
      for (let pair = 0; pair < pairs; pair++) {
        const angle = position * frequencies[pair];
        nextCosines[position * pairs + pair] = Math.cos(angle);
        nextSines[position * pairs + pair] = Math.sin(angle);
      }
    }
    replace(nextCosines, nextSines);
    length = size;
  };

  return {
    pairs,
    get cosines() {
      return cosines;
    },
    get sines() {
      return sines;
    },
    cover(position) {
      if (position >= length) grow(Math.max(position + 1, 2 * length, 64));
    },
    dispose() {
      replace(new Float32Array(0), new Float32Array(0));
      length = 0;
    },
  };
}

/**
 * Rotates every head in place: `x` is `[rows, heads * 2 * pairs]` row-major, row `r` turns by the angles in row `rowIndex[r]`
 * of the tables (its position).
 */
export function applyRope(
  x: Float32Array,
  rowIndex: Int32Array,
  heads: number,
  pairs: number,
  cosines: Float32Array,
  sines: Float32Array,
): void {
  for (let row = 0, start = 0; row < rowIndex.length; row++) {
    const table = rowIndex[row] * pairs;
    for (let head = 0; head < heads; head++, start += 2 * pairs) {
      for (let pair = 0; pair < pairs; pair++) {
        const cosine = cosines[table + pair];
        const sine = sines[table + pair];
        const a = x[start + pair];
        const b = x[start + pairs + pair];
        x[start + pair] = a * cosine - b * sine;
        x[start + pairs + pair] = b * cosine + a * sine;
      }
    }
  }
}

/**
 * Rotary position embedding, half-split: channel `i` of a head turns with channel `i + headDim / 2`.
 * Sources: Su et al., arXiv 2104.09864; the layout and the llama3 frequency correction as in transformers'
 * modeling_llama.py and modeling_rope_utils.py.
 */

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

/** Rotates queries and keys in place. */
export interface Rope {
  /** `x` is `[positions.length, heads * headDim]` row-major. */
  rotate(x: Float32Array, positions: Int32Array, heads: number): void;
}

/**
 * A rotation with cached tables of cosines and sines: computed in float64, rounded to float32. The tables grow to the largest
 * position seen and hold `4 * headDim` bytes for each position.
 */
export function rope(config: RopeConfig, headDim: number): Rope {
  const frequencies = ropeFrequencies(config, headDim);
  const half = frequencies.length;
  let length = 0;
  let cosines = new Float32Array(0);
  let sines = new Float32Array(0);

  function grow(needed: number): void {
    const size = Math.max(needed, 2 * length, 64);
    const nextCosines = new Float32Array(size * half);
    const nextSines = new Float32Array(size * half);
    nextCosines.set(cosines);
    nextSines.set(sines);
    for (let position = length; position < size; position++) {
      for (let pair = 0; pair < half; pair++) {
        const angle = position * frequencies[pair];
        nextCosines[position * half + pair] = Math.cos(angle);
        nextSines[position * half + pair] = Math.sin(angle);
      }
    }
    cosines = nextCosines;
    sines = nextSines;
    length = size;
  }

  return {
    rotate(x, positions, heads) {
      for (let row = 0, start = 0; row < positions.length; row++) {
        const position = positions[row];
        if (position >= length) grow(position + 1);
        const table = position * half;
        for (let head = 0; head < heads; head++, start += 2 * half) {
          for (let pair = 0; pair < half; pair++) {
            const cosine = cosines[table + pair];
            const sine = sines[table + pair];
            const a = x[start + pair];
            const b = x[start + half + pair];
            x[start + pair] = a * cosine - b * sine;
            x[start + half + pair] = b * cosine + a * sine;
          }
        }
      }
    },
  };
}

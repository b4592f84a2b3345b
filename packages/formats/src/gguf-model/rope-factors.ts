/** The parameters of llama 3's rotary scaling, named as in Hugging Face's `rope_scaling`. */
export interface Llama3RopeScaling {
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/**
 * Divisors of the rotary frequencies, `[headDim / 2]`: the values of GGUF's `rope_freqs.weight`.
 * Source: transformers, modeling_rope_utils.py, `_compute_llama3_parameters`.
 */
export function llama3RopeFactors(scaling: Llama3RopeScaling, theta: number, headDim: number): Float32Array {
  return Float32Array.from(llama3RopeDivisors(scaling, theta, headDim));
}

/** `llama3RopeFactors` before they are rounded to float32. */
export function llama3RopeDivisors(scaling: Llama3RopeScaling, theta: number, headDim: number): Float64Array {
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: context } = scaling;
  const factors = new Float64Array(headDim / 2);
  for (let i = 0; i < factors.length; i++) {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headDim);
    if (wavelength < context / high) {
      factors[i] = 1;
    } else if (wavelength > context / low) {
      factors[i] = factor;
    } else {
      const smooth = (context / wavelength - low) / (high - low);
      factors[i] = 1 / ((1 - smooth) / factor + smooth);
    }
  }
  return factors;
}

/**
 * The llama 3 parameters that produce these factors, if they are the published models' (8192 positions, frequency
 * factors 1 and 4) with any `factor`; undefined for all others.
 */
export function recogniseLlama3(factors: ArrayLike<number>, theta: number): Llama3RopeScaling | undefined {
  const factor = Math.max(...Array.from(factors));
  const scaling = { factor, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const expected = llama3RopeFactors(scaling, theta, factors.length * 2);
  const same = expected.every((value, i) => Math.abs(value - (factors[i] as number)) <= 1e-4 * value);
  return factor > 1 && same ? scaling : undefined;
}

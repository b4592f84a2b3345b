import type { Shape } from '@halftone/tensor';

/** What to do to a Hugging Face tensor before it is written to a GGUF file. */
export interface GgufTransform {
  /** Exchange the axes: GPT-2's Conv1D weights. */
  readonly transpose?: true;
  /** Interleave the rotary halves of each head (`permuteRowsLazy`). */
  readonly permuteHeads?: { readonly heads: number };
  /** Add 1 in float32: Gemma's norm gains (`addOneLazy`). The result is F32. */
  readonly addOne?: true;
}

export interface GgufTensorPlan {
  readonly ggufName: string;
  readonly hfName: string;
  /** After the transform; linear weights are `[out, in]`. */
  readonly shape: Shape;
  readonly transform: GgufTransform;
  /** Norms, biases and position embeddings: llama.cpp wants these in F32. */
  readonly keepFloat: boolean;
}

/** A tensor that the Hugging Face checkpoint does not hold. Written in F32. */
export interface GgufExtraTensor {
  readonly ggufName: string;
  readonly shape: Shape;
  readonly values: Float32Array;
}

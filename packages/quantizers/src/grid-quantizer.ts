import type {
  QuantizeContext,
  QuantizedParts,
  QuantizedTensor,
  Quantizer,
  Scheme,
  Shape,
  Tensor,
} from '@halftone/tensor';

/** A quantized tensor without its codes: every scale, zero and offset is fixed, the rounding is still free. */
export interface FrozenGrid {
  readonly scheme: Scheme;
  readonly shape: Shape;
  readonly parts: Omit<QuantizedParts, 'codes'>;
}

/**
 * A quantizer in two steps, so that any rounder (nearest, GPTQ, coordinate descent) works on its grid.
 *
 * All three functions take a weight of shape `[out, in]`, run synchronously and throw
 * `NUMERIC` for a value that is not finite and `SHAPE` for a shape the grid cannot hold.
 */
export interface GridQuantizer extends Quantizer {
  /** Fits scales, zeros and offsets and rounds them to the type they are stored in. */
  chooseScales(weight: Tensor<Float32Array>, context: QuantizeContext): FrozenGrid;
  /** Rounds each weight to the nearest value of the frozen grid. */
  chooseCodes(weight: Tensor<Float32Array>, grid: FrozenGrid, context: QuantizeContext): QuantizedTensor;
  quantize(weight: Tensor<Float32Array>, context: QuantizeContext): QuantizedTensor;
}

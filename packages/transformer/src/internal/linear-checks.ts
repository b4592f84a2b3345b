import { HalftoneError, type QuantizedTensor, type Tensor, type UploadedLinear } from '@halftone/tensor';

/** Rows and columns of a float weight; throws for anything else than a matrix with a fitting bias. */
export function checkedWeight(
  backend: string,
  weight: Tensor<Float32Array> | QuantizedTensor,
  bias: Float32Array | undefined,
): { readonly weight: Tensor<Float32Array>; readonly outFeatures: number; readonly inFeatures: number } {
  const details = { shape: weight.shape, bias: bias?.length };
  if (weight.kind === 'quantized') {
    throw new HalftoneError('UNSUPPORTED', `scheme ${weight.scheme.name} is not taken; dequantize the weight first`, {
      where: backend,
      details,
    });
  }
  const [outFeatures, inFeatures] = weight.shape;
  if (weight.shape.length !== 2 || outFeatures < 1 || inFeatures < 1) {
    throw new HalftoneError('SHAPE', `a linear weight must be [out, in], not [${weight.shape}]`, {
      where: backend,
      details,
    });
  }
  if (bias !== undefined && bias.length !== outFeatures) {
    throw new HalftoneError('SHAPE', `the bias has ${bias.length} values but the weight ${outFeatures} rows`, {
      where: backend,
      details,
    });
  }
  return { weight, outFeatures, inFeatures };
}

export function checkProduct(
  backend: string,
  weight: UploadedLinear,
  x: Float32Array,
  rows: number,
  out: Float32Array,
): void {
  const { outFeatures, inFeatures } = weight;
  if (!Number.isSafeInteger(rows) || rows < 0 || x.length < rows * inFeatures || out.length < rows * outFeatures) {
    throw new HalftoneError(
      'SHAPE',
      `${rows} rows of ${inFeatures} to ${outFeatures} features do not fit into x (${x.length} values) and out (${out.length} values)`,
      { where: backend, details: { rows, inFeatures, outFeatures, x: x.length, out: out.length } },
    );
  }
}

export function unknownWeight(backend: string): HalftoneError {
  return new HalftoneError('DEVICE', 'this weight is not held here; it was released, or uploaded to another backend', {
    where: backend,
  });
}

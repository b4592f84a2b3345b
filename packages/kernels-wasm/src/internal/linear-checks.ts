import { HalftoneError, type Shape, type UploadedLinear } from '@halftone/tensor';

const WHERE = 'wasmBackend';

export function checkWeight(weight: { readonly shape: Shape }, bias: Float32Array | undefined, where = WHERE): void {
  const [outFeatures, inFeatures] = weight.shape;
  const details = { shape: weight.shape, bias: bias?.length };
  if (weight.shape.length !== 2 || !(outFeatures >= 1) || !(inFeatures >= 1)) {
    throw new HalftoneError('SHAPE', `a linear weight must be [out, in], not [${weight.shape}]`, {
      where,
      details,
    });
  }
  if (bias !== undefined && bias.length !== outFeatures) {
    throw new HalftoneError('SHAPE', `the bias has ${bias.length} values but the weight ${outFeatures} rows`, {
      where,
      details,
    });
  }
}

export function checkProduct(
  weight: UploadedLinear,
  x: Float32Array,
  rows: number,
  out: Float32Array,
  where = WHERE,
): void {
  const { outFeatures, inFeatures } = weight;
  if (!Number.isSafeInteger(rows) || rows < 0 || x.length < rows * inFeatures || out.length < rows * outFeatures) {
    throw new HalftoneError(
      'SHAPE',
      `${rows} rows of ${inFeatures} to ${outFeatures} features do not fit into x (${x.length} values) and out (${out.length} values)`,
      { where, details: { rows, inFeatures, outFeatures, x: x.length, out: out.length } },
    );
  }
}

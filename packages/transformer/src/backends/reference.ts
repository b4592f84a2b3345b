import { contiguousData, type KernelBackend, type UploadedLinear } from '@halftone/tensor';
import { checkedWeight, checkProduct, unknownWeight } from '../internal/linear-checks.js';

/**
 * The oracle: plain loops, sums in float64 from the first column to the last, one rounding to float32 at the end.
 * Takes float weights only. Costs `rows * in * out` multiplications, about 0.7 GFLOP/s.
 */
export function referenceBackend(): KernelBackend {
  const held = new Map<UploadedLinear, { readonly weight: Float32Array; readonly bias?: Float32Array }>();
  return {
    name: 'reference',
    supports: () => false,
    uploadLinear(source, bias) {
      const { weight, outFeatures, inFeatures } = checkedWeight('referenceBackend', source, bias);
      const uploaded = { outFeatures, inFeatures, byteLength: 4 * outFeatures * inFeatures + (bias?.byteLength ?? 0) };
      held.set(uploaded, { weight: contiguousData(weight).slice(), bias: bias?.slice() });
      return uploaded;
    },
    linear(uploaded, x, rows, out) {
      const entry = held.get(uploaded);
      if (entry === undefined) throw unknownWeight('referenceBackend');
      checkProduct('referenceBackend', uploaded, x, rows, out);
      const { outFeatures, inFeatures } = uploaded;
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < outFeatures; o++) {
          let sum = 0;
          for (let i = 0; i < inFeatures; i++) sum += x[r * inFeatures + i] * entry.weight[o * inFeatures + i];
          out[r * outFeatures + o] = sum + (entry.bias?.[o] ?? 0);
        }
      }
    },
    release(uploaded) {
      held.delete(uploaded);
    },
    dispose() {
      held.clear();
    },
  };
}

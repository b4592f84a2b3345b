import { type QuantizedTensor, type Tensor, tensor, type UploadedLinear } from '@halftone/tensor';
import { validateQuantized } from '@halftone/tensor/validate';
import type { Machine } from '../runtime.js';
import { holdSides } from './held-sides.js';
import { checkProduct, checkWeight } from './linear-checks.js';
import type { LinearLayers } from './linear-layers.js';
import { hasSideBranches, type SideBranches, sideBranches } from './side-branches.js';
import { type SidedWeight, sidedProducts } from './sided-products.js';

const WHERE = 'wasmBackend';

/**
 * Linear layers of which a quantized weight may have side branches: its dense part goes to `dense`, and outliers, low-rank
 * parts and reordered or scaled columns act on float32 inputs and outputs around that.
 */
export function sidedLayers(runtime: Machine, dense: LinearLayers): LinearLayers {
  const product = sidedProducts(runtime, dense);
  const held = new Map<UploadedLinear, SidedWeight>();

  const upload = (branches: SideBranches, bias: Float32Array | undefined): UploadedLinear => {
    const [outFeatures, inFeatures] = branches.dense.shape;
    const { lowRank } = branches;
    const parts: UploadedLinear[] = [];
    try {
      parts.push(dense.uploadLinear(branches.dense, bias));
      if (lowRank !== undefined) parts.push(dense.uploadLinear(tensor(lowRank.right, [lowRank.width, inFeatures])));
      const sides = holdSides(runtime, branches, outFeatures);
      const byteLength = parts.reduce((sum, part) => sum + part.byteLength, sides.byteLength);
      const uploaded: UploadedLinear = { outFeatures, inFeatures, byteLength };
      held.set(uploaded, { ...uploaded, ...sides, dense: parts[0], right: parts[1] });
      return uploaded;
    } catch (error) {
      for (const part of parts) dense.release(part);
      throw error;
    }
  };

  return {
    ...dense,
    uploadLinear(weight: Tensor<Float32Array> | QuantizedTensor, bias) {
      runtime.checkAlive();
      if (weight.kind !== 'quantized' || !hasSideBranches(weight) || !dense.supports(weight.scheme)) {
        return dense.uploadLinear(weight, bias);
      }
      checkWeight(weight, bias);
      validateQuantized(weight, WHERE);
      const branches = sideBranches(weight);
      return branches === undefined ? dense.uploadLinear(weight, bias) : upload(branches, bias);
    },
    linear(uploaded, x, rows, out) {
      const weight = held.get(uploaded);
      if (weight === undefined) return dense.linear(uploaded, x, rows, out);
      runtime.checkAlive();
      checkProduct(uploaded, x, rows, out);
      return product(weight, x, rows, out);
    },
    release(uploaded) {
      const weight = held.get(uploaded);
      if (weight === undefined) return dense.release(uploaded);
      dense.release(weight.dense);
      if (weight.right !== undefined) dense.release(weight.right);
      weight.arena.free(weight.address);
      held.delete(uploaded);
    },
  };
}

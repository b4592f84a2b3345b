import type { QuantizedTensor, Tensor, UploadedLinear } from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import { type HeldInt8, holdInt8 } from './held-int8.js';
import { int8Products } from './int8-products.js';
import { int8Weight, isInt8Weight } from './int8-weight.js';
import { checkProduct, checkWeight } from './linear-checks.js';
import type { LinearLayers } from './linear-layers.js';

/** With smaller groups, blocks of 32 activations cost no more and lose less. */
const SMALLEST_GROUP = 128;

const NO_SCALES = new Float32Array(0);

/** Linear layers that quantize activations with one scale a row where the weight's scheme fits; others go to `rest`. */
export function int8Layers(runtime: Machine, rest: LinearLayers): LinearLayers {
  const product = int8Products(runtime);
  const held = new Map<UploadedLinear, HeldInt8>();
  return {
    ...rest,
    uploadLinear(weight, bias) {
      runtime.checkAlive();
      if (!fits(weight)) return rest.uploadLinear(weight, bias);
      checkWeight(weight, bias);
      const uploaded = holdInt8(runtime, int8Weight(weight), bias);
      held.set(uploaded, uploaded);
      return uploaded;
    },
    linear(uploaded, x, rows, out) {
      const weight = held.get(uploaded);
      if (weight === undefined) return rest.linear(uploaded, x, rows, out);
      runtime.checkAlive();
      checkProduct(uploaded, x, rows, out);
      return product(weight, x, NO_SCALES, rows, out);
    },
    release(uploaded) {
      const weight = held.get(uploaded);
      if (weight === undefined) return rest.release(uploaded);
      weight.arena.free(weight.weight);
      held.delete(uploaded);
    },
  };
}

function fits(weight: Tensor<Float32Array> | QuantizedTensor): weight is QuantizedTensor {
  if (weight.kind !== 'quantized' || !isInt8Weight(weight)) return false;
  const { granularity } = weight.scheme;
  return granularity.type !== 'group' || granularity.size >= SMALLEST_GROUP;
}

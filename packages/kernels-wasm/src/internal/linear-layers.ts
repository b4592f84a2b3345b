import {
  contiguousData,
  dequantize,
  HalftoneError,
  type KernelBackend,
  type QuantizedTensor,
  type Tensor,
  type UploadedLinear,
} from '@halftone/tensor';
import type { Machine } from '../runtime.js';
import { floatDepth, packFloatPanels } from './float-panels.js';
import { type HeldWeight, heldBytes, holdPanels, type Packing } from './held-weight.js';
import { BLOCK, PANEL } from './layout.js';
import { checkProduct, checkWeight } from './linear-checks.js';
import { PRODUCTS } from './modules/products.js';
import { packedUpload } from './packed-upload.js';
import { products } from './products.js';
import { isPanelScheme, panelWeight } from './quantized-panels.js';
import { isStoredType } from './stored-types.js';

const WHERE = 'wasmBackend';

export type LinearLayers = Required<
  Pick<KernelBackend, 'supports' | 'uploadLinear' | 'supportsPacked' | 'uploadPacked' | 'linear' | 'release'>
>;

/** The linear layers of a backend: weights in the runtime's memories and products with them. */
export function linearLayers(runtime: Machine, activations: 'int8' | 'float'): LinearLayers {
  const { build, job, checkAlive, place } = runtime;
  const threads = () => runtime.threads;
  const product = products({ build, job, module: runtime.compiled(PRODUCTS), threads }, activations);
  const held = new Map<UploadedLinear, HeldWeight>();

  const keep = (weight: HeldWeight): UploadedLinear => {
    const { outFeatures, inFeatures, byteLength } = weight;
    const uploaded: UploadedLinear = { outFeatures, inFeatures, byteLength };
    held.set(uploaded, weight);
    return uploaded;
  };

  return {
    supports: isPanelScheme,
    uploadLinear(weight, bias) {
      checkAlive();
      checkWeight(weight, bias);
      const packed = packing(weight, activations);
      const [arena, at] = place(heldBytes(packed));
      packed.pack(arena.bytes, arena.floats, at);
      return keep(holdPanels(build, packed, bias, arena, at));
    },
    supportsPacked: isStoredType,
    async uploadPacked(source, bias, options) {
      return keep(await packedUpload(runtime, source, bias, options));
    },
    linear(uploaded, x, rows, out) {
      checkAlive();
      const weight = held.get(uploaded);
      if (weight === undefined) {
        throw new HalftoneError('DEVICE', 'this weight is not held here; it was released, or uploaded elsewhere', {
          where: WHERE,
        });
      }
      checkProduct(uploaded, x, rows, out);
      return product(weight, x, rows, out);
    },
    release(uploaded) {
      const weight = held.get(uploaded);
      weight?.arena.free(weight.weight);
      held.delete(uploaded);
    },
  };
}

function packing(weight: Tensor<Float32Array> | QuantizedTensor, activations: 'int8' | 'float'): Packing {
  const [outFeatures, inFeatures] = weight.shape;
  if (weight.kind === 'quantized') {
    if (!isPanelScheme(weight.scheme)) {
      throw new HalftoneError('UNSUPPORTED', `scheme ${weight.scheme.name} is not taken; dequantize the weight first`, {
        where: WHERE,
        details: { scheme: weight.scheme },
      });
    }
    const quantized = panelWeight(weight, activations);
    if (quantized !== undefined) {
      const { byteLength, pack } = quantized;
      const depth = Math.ceil(inFeatures / BLOCK) * BLOCK;
      return { shape: [outFeatures, inFeatures], depth, byteLength, quantized, pack };
    }
  }
  const depth = floatDepth(inFeatures);
  return {
    shape: [outFeatures, inFeatures],
    byteLength: Math.ceil(outFeatures / PANEL) * PANEL * depth * 4,
    depth,
    pack: (_, floats, address) => {
      const values = weight.kind === 'quantized' ? dequantize(weight) : contiguousData(weight);
      packFloatPanels(values, outFeatures, inFeatures, floats, address / 4);
    },
  };
}

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
import { affineWeight, isAffinePanelScheme } from './affine-panels.js';
import { floatDepth, packFloatPanels } from './float-panels.js';
import { type HeldWeight, type QuantizedPanels, quantizedPanels } from './held-weight.js';
import { BLOCK, PANEL, type WasmBuild } from './layout.js';
import { checkProduct, checkWeight } from './linear-checks.js';
import { PRODUCTS } from './modules/products.js';
import { packedUpload } from './packed-upload.js';
import { products } from './products.js';
import { isStoredType } from './stored-types.js';

const WHERE = 'wasmBackend';

export type LinearLayers = Pick<
  KernelBackend,
  'supports' | 'uploadLinear' | 'supportsPacked' | 'uploadPacked' | 'linear' | 'release'
>;

/** The linear layers of a backend: weights in the runtime's memories and products with them. */
export function linearLayers(runtime: Machine, activations: 'int8' | 'float'): LinearLayers {
  const { build, job, checkAlive, place } = runtime;
  const threads = () => runtime.threads;
  const product = products({ build, job, module: runtime.compiled(PRODUCTS), threads }, activations);
  const held = new Map<UploadedLinear, HeldWeight>();

  return {
    supports: isAffinePanelScheme,
    uploadLinear(weight, bias) {
      checkAlive();
      checkWeight(weight, bias);
      const [outFeatures, inFeatures] = weight.shape;
      const panels = Math.ceil(outFeatures / PANEL);
      const { byteLength, depth, quantized, pack } = packing(build, weight);
      const [arena, at] = place(byteLength + panels * PANEL * 4);
      pack(arena.bytes, arena.floats, at);
      const biasAt = at + byteLength;
      arena.floats.fill(0, biasAt / 4, biasAt / 4 + panels * PANEL);
      if (bias !== undefined) arena.floats.set(bias, biasAt / 4);
      const uploaded: UploadedLinear = { outFeatures, inFeatures, byteLength: byteLength + panels * PANEL * 4 };
      const panelBytes = byteLength / panels;
      held.set(uploaded, { ...uploaded, arena, panels, panelBytes, depth, weight: at, bias: biasAt, quantized });
      return uploaded;
    },
    supportsPacked: isStoredType,
    async uploadPacked(source, bias, options) {
      const weight = await packedUpload(runtime, source, bias, options);
      const { outFeatures, inFeatures, byteLength } = weight;
      const uploaded: UploadedLinear = { outFeatures, inFeatures, byteLength };
      held.set(uploaded, weight);
      return uploaded;
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

interface Packing {
  readonly byteLength: number;
  readonly depth: number;
  readonly quantized?: QuantizedPanels;
  readonly pack: (bytes: Uint8Array, floats: Float32Array, address: number) => void;
}

function packing(build: WasmBuild, weight: Tensor<Float32Array> | QuantizedTensor): Packing {
  const [outFeatures, inFeatures] = weight.shape;
  if (weight.kind === 'quantized') {
    const { outliers, lowRank, permutation, groupIndex, channelScale } = weight.parts;
    if (!isAffinePanelScheme(weight.scheme)) {
      throw new HalftoneError('UNSUPPORTED', `scheme ${weight.scheme.name} is not taken; dequantize the weight first`, {
        where: WHERE,
        details: { scheme: weight.scheme },
      });
    }
    const plain = !(outliers || lowRank || permutation || groupIndex || channelScale);
    const affine = plain ? affineWeight(weight) : undefined;
    if (affine !== undefined) {
      const { byteLength, layout, center, pack } = affine;
      return {
        byteLength,
        depth: Math.ceil(inFeatures / BLOCK) * BLOCK,
        quantized: quantizedPanels(build, layout, center),
        pack,
      };
    }
  }
  const depth = floatDepth(inFeatures);
  return {
    byteLength: Math.ceil(outFeatures / PANEL) * PANEL * depth * 4,
    depth,
    pack: (_, floats, address) => {
      const values = weight.kind === 'quantized' ? dequantize(weight) : contiguousData(weight);
      packFloatPanels(values, outFeatures, inFeatures, floats, address / 4);
    },
  };
}

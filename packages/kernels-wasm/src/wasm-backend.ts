import {
  contiguousData,
  dequantize,
  HalftoneError,
  type KernelBackend,
  type QuantizedTensor,
  type Tensor,
  type UploadedLinear,
} from '@halftone/tensor';
import { affineWeight, isAffinePanelScheme } from './internal/affine-panels.js';
import { floatDepth, packFloatPanels } from './internal/float-panels.js';
import type { HeldWeight } from './internal/held-weight.js';
import { BLOCK, PANEL, type WasmBuild } from './internal/layout.js';
import { checkProduct, checkWeight } from './internal/linear-checks.js';
import { PRODUCTS } from './internal/modules/products.js';
import { floatProduct, integerProduct } from './internal/products.js';
import { machine, WASM_RUNTIME_DEFAULTS, type WasmRuntimeOptions } from './runtime.js';

const WHERE = 'wasmBackend';

export interface WasmBackendOptions extends WasmRuntimeOptions {
  /**
   * How quantized weights are multiplied. `int8` rounds each run of 32 inputs to 8 bits with a scale of its own, which costs
   * little accuracy beside 4-bit weights and runs several times faster; `float` keeps inputs as they are.
   */
  readonly activations?: 'int8' | 'float';
}

export const WASM_BACKEND_DEFAULTS: Required<WasmBackendOptions> = { ...WASM_RUNTIME_DEFAULTS, activations: 'int8' };

export interface WasmBackend extends KernelBackend {
  readonly build: WasmBuild;
  /** Threads that operations can count on. */
  readonly threads: number;
  /** Why it is not the relaxed build, or not as many threads as wanted. */
  readonly notes: readonly string[];
  dispose(): Promise<void>;
}

/**
 * Matrix products in WebAssembly SIMD; see `wasmRuntime` for memories and threads.
 *
 * Float weights are held in float32. Affine quantized weights (up to 8 bits; one scale for the tensor, a row, or groups of a
 * multiple of 16 columns; all ggml block formats of this kind) are held in 4 or 8 bits a code with float32 scales. Weights
 * with outliers, low-rank parts or reordered columns are decoded to float32 first.
 *
 * Throws what `wasmRuntime` throws. Rows with NaN or infinities give NaN with `int8` activations.
 */
export function wasmBackend(options: WasmBackendOptions = {}): WasmBackend {
  const { activations, ...rest } = { ...WASM_BACKEND_DEFAULTS, ...options };
  const runtime = machine(rest);
  const { build, checkAlive, place } = runtime;
  const product = activations === 'int8' ? integerProduct : floatProduct;
  const held = new Map<UploadedLinear, HeldWeight>();

  return {
    name: `wasm-${build}`,
    build,
    get threads() {
      return runtime.threads;
    },
    get notes() {
      return runtime.notes;
    },
    supports: isAffinePanelScheme,
    uploadLinear(weight, bias) {
      checkAlive();
      checkWeight(weight, bias);
      const [outFeatures, inFeatures] = weight.shape;
      const panels = Math.ceil(outFeatures / PANEL);
      const packed = packing(weight);
      const [home, at] = place(packed.byteLength + panels * PANEL * 4);
      packed.pack(home.bytes, home.floats, at);
      const biasAt = at + packed.byteLength;
      home.floats.fill(0, biasAt / 4, biasAt / 4 + panels * PANEL);
      if (bias !== undefined) home.floats.set(bias, biasAt / 4);
      const uploaded: UploadedLinear = { outFeatures, inFeatures, byteLength: packed.byteLength + panels * PANEL * 4 };
      const { depth, quantized } = packed;
      const kernels = runtime.kernels(home, PRODUCTS);
      held.set(uploaded, { ...uploaded, arena: home, kernels, panels, depth, weight: at, bias: biasAt, quantized });
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
      product(build, weight, x, rows, out);
    },
    release(uploaded) {
      const weight = held.get(uploaded);
      weight?.arena.free(weight.weight);
      held.delete(uploaded);
    },
    dispose() {
      held.clear();
      return runtime.dispose();
    },
  };
}

interface Packing {
  readonly byteLength: number;
  readonly depth: number;
  readonly quantized?: HeldWeight['quantized'];
  readonly pack: (bytes: Uint8Array, floats: Float32Array, address: number) => void;
}

function packing(weight: Tensor<Float32Array> | QuantizedTensor): Packing {
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
      return { byteLength, depth: Math.ceil(inFeatures / BLOCK) * BLOCK, quantized: { layout, center }, pack };
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

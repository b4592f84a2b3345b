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
import { type Arena, arena } from './internal/arena.js';
import { floatDepth, packFloatPanels } from './internal/float-panels.js';
import type { HeldWeight } from './internal/held-weight.js';
import { BLOCK, PANEL, type WasmBuild } from './internal/layout.js';
import { checkProduct, checkWeight } from './internal/linear-checks.js';
import { compileBuild, newestBuild } from './internal/modules.js';
import { floatProduct, integerProduct } from './internal/products.js';

const WHERE = 'wasmBackend';

export interface WasmBackendOptions {
  /**
   * How quantized weights are multiplied. `int8` rounds each run of 32 inputs to 8 bits with a scale of its own, which costs
   * little accuracy beside 4-bit weights and runs several times faster; `float` keeps inputs as they are.
   */
  readonly activations?: 'int8' | 'float';
  /** `auto` takes `relaxed` where the engine has it and its arithmetic passes a test, else `simd`. */
  readonly build?: 'auto' | WasmBuild;
  /** Largest size of one WebAssembly memory, in bytes. Weights beyond that go to further memories. */
  readonly memoryBytes?: number;
}

export const WASM_BACKEND_DEFAULTS: Required<WasmBackendOptions> = {
  activations: 'int8',
  build: 'auto',
  memoryBytes: 4 * 2 ** 30 - 65536,
};

export interface WasmBackend extends KernelBackend {
  readonly build: WasmBuild;
  linear(weight: UploadedLinear, x: Float32Array, rows: number, out: Float32Array): void;
  dispose(): void;
}

/**
 * Matrix products in WebAssembly SIMD, on one thread, synchronous.
 *
 * Float weights are held in float32. Affine quantized weights (up to 8 bits; one scale for the tensor, a row, or groups of a
 * multiple of 16 columns; all ggml block formats of this kind) are held in 4 or 8 bits a code with float32 scales. Weights
 * with outliers, low-rank parts or reordered columns are decoded to float32 first.
 *
 * Throws `UNSUPPORTED` where the engine lacks WebAssembly SIMD, or the build that `options` asks for, and `DEVICE` when no
 * memory can be had. Rows with NaN or infinities give NaN with `int8` activations.
 */
export function wasmBackend(options: WasmBackendOptions = {}): WasmBackend {
  const { activations, build: wanted, memoryBytes } = { ...WASM_BACKEND_DEFAULTS, ...options };
  const { build, module } = wanted === 'auto' ? newestBuild() : compileBuild(wanted);
  const product = activations === 'int8' ? integerProduct : floatProduct;
  const arenas: Arena[] = [];
  const held = new Map<UploadedLinear, HeldWeight>();
  let disposed = false;

  const checkAlive = () => {
    if (disposed) throw new HalftoneError('DEVICE', 'the backend was disposed; create another one', { where: WHERE });
  };
  /** A place for the bytes in the first memory that has one, or in a new memory. */
  const place = (byteLength: number): readonly [Arena, number] => {
    for (const candidate of arenas) {
      const address = candidate.allocate(byteLength);
      if (address !== undefined) return [candidate, address];
    }
    const added = arena(module, memoryBytes);
    const address = added.allocate(byteLength);
    if (address === undefined) {
      throw new HalftoneError('DEVICE', `${byteLength} bytes do not fit into a memory; split the weight by rows`, {
        where: WHERE,
        details: { byteLength, memoryBytes },
      });
    }
    arenas.push(added);
    return [added, address];
  };

  return {
    name: `wasm-${build}`,
    build,
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
      held.set(uploaded, { ...uploaded, arena: home, panels, depth, weight: at, bias: biasAt, quantized });
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
      disposed = true;
      held.clear();
      arenas.length = 0;
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

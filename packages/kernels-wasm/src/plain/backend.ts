import { contiguousData, HalftoneError, type KernelBackend, type UploadedLinear } from '@halftone/tensor';
import { checkProduct, checkWeight } from '../internal/linear-checks.js';
import { multiplyPanels, multiplyVectorPanels, packRows, TILE, wholeTiles, widen } from './gemm.js';

const WHERE = 'plainBackend';

/** Rows of `x` that are packed together: their panels should fit the second-level cache. */
const ROW_BLOCK = 128;
/** Columns multiplied before sums are written back: a weight panel of this depth takes 16 kB. */
const DEPTH_BLOCK = 512;

/** A weight as float32 panels of four output rows, the last one padded with zeros. */
interface Panels extends UploadedLinear {
  readonly data: Float32Array;
  readonly bias?: Float32Array;
}

/** Buffers that are reused between calls and grow to the largest size asked for. */
type Buffers = (name: string, length: number) => Float64Array;

export interface PlainBackend extends KernelBackend {
  /** Why it is this backend and not a faster one. */
  readonly notes: readonly string[];
  dispose(): void;
}

/**
 * Matrix products in plain TypeScript on one thread: cache-blocked, with packed panels and a 4x4 register tile. Sums are in
 * float64 (by blocks of 512 columns) and are rounded once, so that results agree with plain loops in float64 to the last bit
 * or nearly so. Takes float weights only, which it holds in float32. About 3 GFLOP/s.
 */
export function plainBackend(): PlainBackend {
  const held = new Map<UploadedLinear, Panels>();
  const buffers = growingBuffers();
  return {
    name: 'plain',
    notes: [],
    supports: () => false,
    uploadLinear(weight, bias) {
      checkWeight(weight, bias, WHERE);
      if (weight.kind === 'quantized') {
        throw new HalftoneError(
          'UNSUPPORTED',
          `scheme ${weight.scheme.name} is not taken; dequantize the weight first`,
          { where: WHERE, details: { scheme: weight.scheme } },
        );
      }
      const [outFeatures, inFeatures] = weight.shape;
      const data = new Float32Array(wholeTiles(outFeatures) * inFeatures);
      const values = contiguousData(weight);
      for (let o = 0; o < outFeatures; o += TILE) {
        packRows(values, o * inFeatures, inFeatures, Math.min(TILE, outFeatures - o), inFeatures, data, o * inFeatures);
      }
      const panels: Panels = {
        outFeatures,
        inFeatures,
        byteLength: data.byteLength + (bias?.byteLength ?? 0),
        data,
        bias: bias?.slice(),
      };
      held.set(panels, panels);
      return panels;
    },
    linear(uploaded, x, rows, out) {
      const panels = held.get(uploaded);
      if (panels === undefined) {
        throw new HalftoneError('DEVICE', 'this weight is not held here; it was released, or uploaded elsewhere', {
          where: WHERE,
        });
      }
      checkProduct(uploaded, x, rows, out, WHERE);
      if (rows === 1) multiplyVector(panels, x, out, buffers);
      else multiplyRows(panels, x, rows, out, buffers);
    },
    release(uploaded) {
      held.delete(uploaded);
    },
    dispose() {
      held.clear();
    },
  };
}

function growingBuffers(): Buffers {
  const buffers = new Map<string, Float64Array>();
  return (name, length) => {
    let buffer = buffers.get(name);
    if (buffer === undefined || buffer.length < length) {
      buffer = new Float64Array(length);
      buffers.set(name, buffer);
    }
    return buffer;
  };
}

function multiplyRows(weight: Panels, x: Float32Array, rows: number, out: Float32Array, buffers: Buffers): void {
  const { inFeatures, outFeatures, data, bias } = weight;
  const tile = TILE;
  const blockRows = Math.min(ROW_BLOCK, wholeTiles(rows));
  const a = buffers('rows', blockRows * inFeatures);
  const b = buffers('panel', tile * DEPTH_BLOCK);
  const sums = buffers('sums', blockRows * tile);
  for (let firstRow = 0; firstRow < rows; firstRow += ROW_BLOCK) {
    const count = Math.min(ROW_BLOCK, rows - firstRow);
    for (let t = 0; t < count; t += tile) {
      packRows(x, (firstRow + t) * inFeatures, inFeatures, Math.min(tile, count - t), inFeatures, a, t * inFeatures);
    }
    for (let o = 0; o < outFeatures; o += tile) {
      sums.fill(0, 0, wholeTiles(count) * tile);
      for (let k = 0; k < inFeatures; k += DEPTH_BLOCK) {
        const depth = Math.min(DEPTH_BLOCK, inFeatures - k);
        widen(data, o * inFeatures + k * tile, depth * tile, b);
        for (let t = 0; t < count; t += tile)
          multiplyPanels(a, t * inFeatures + k * tile, b, 0, depth, sums, t * tile, tile);
      }
      const columns = Math.min(tile, outFeatures - o);
      for (let j = 0; j < columns; j++) {
        const shift = bias === undefined ? 0 : bias[o + j];
        let to = firstRow * outFeatures + o + j;
        for (let t = 0; t < count; t++, to += outFeatures) out[to] = sums[t * tile + j] + shift;
      }
    }
  }
}

/** One row: eight output rows at a time. */
function multiplyVector(weight: Panels, x: Float32Array, out: Float32Array, buffers: Buffers): void {
  const { inFeatures, outFeatures, data, bias } = weight;
  const tile = TILE;
  const v = buffers('vector', inFeatures);
  const sums = buffers('vectorSums', 2 * tile);
  widen(x, 0, inFeatures, v);
  for (let o = 0; o < outFeatures; o += 2 * tile) {
    multiplyVectorPanels(data, o * inFeatures, v, inFeatures, o + tile < outFeatures ? 2 : 1, sums);
    const columns = Math.min(2 * tile, outFeatures - o);
    for (let j = 0; j < columns; j++) out[o + j] = sums[j] + (bias === undefined ? 0 : bias[o + j]);
  }
}

import {
  type DType,
  decode,
  dequantize,
  HalftoneError,
  type LazyQuantizedTensor,
  type LazyTensor,
  type PackedTensor,
  type ReadOptions,
} from '@halftone/tensor';
import { streamRows } from '../../stream-rows.js';
import type { TensorData } from '../../tensor-writer.js';
import { packMatMulNBits } from '../matmul-nbits.js';
import { packQdq } from '../qdq.js';
import { WHERE } from './decoder-weights.js';

/** How quantized weights lie in the model. */
export type OnnxWeightMode = 'matmul-nbits' | 'qdq';

/** Where the bytes of an initializer come from. */
export type OnnxPart =
  /** A float tensor, as it is stored or widened to f32. */
  | { readonly from: 'tensor'; readonly tensor: LazyTensor }
  /** The values of a quantized tensor, as f32. */
  | { readonly from: 'values'; readonly tensor: LazyQuantizedTensor }
  | {
      readonly from: 'codes' | 'scales' | 'zeroPoints';
      readonly mode: OnnxWeightMode;
      readonly tensor: LazyQuantizedTensor;
    }
  /** `[positions, pairs]` */
  | { readonly from: 'cosines' | 'sines'; readonly frequencies: Float64Array; readonly positions: number };

/** Gives the bytes of initializers, one after the other. A quantized weight is packed once for its parts. */
export function partReader(options: ReadOptions = {}): (part: OnnxPart, dtype: DType) => Promise<TensorData> {
  let packed: { key: LazyQuantizedTensor; parts: Promise<PackedParts> } | undefined;
  return async (part, dtype) => {
    switch (part.from) {
      case 'tensor':
        return floats(part.tensor, dtype, options);
      case 'values':
        return bytesOf(dequantize(await part.tensor.read(options)));
      case 'cosines':
      case 'sines':
        return rotaryTable(part.from, part.frequencies, part.positions);
      default: {
        if (packed?.key !== part.tensor) {
          packed = { key: part.tensor, parts: packWeight(part.tensor, part.mode, options) };
        }
        const { [part.from]: tensor } = await packed.parts;
        if (tensor !== undefined) return tensor.bytes;
        throw new HalftoneError('FORMAT', `${part.tensor.name}: it has no ${part.from}, which its scheme promises`, {
          where: WHERE,
          details: { tensor: part.tensor.name },
        });
      }
    }
  };
}

interface PackedParts {
  readonly codes: PackedTensor;
  readonly scales: PackedTensor;
  readonly zeroPoints?: PackedTensor;
}

async function packWeight(lazy: LazyQuantizedTensor, mode: OnnxWeightMode, options: ReadOptions): Promise<PackedParts> {
  const q = await lazy.read(options);
  if (mode === 'qdq') return packQdq(q);
  const { B, scales, zeroPoints } = packMatMulNBits(q);
  return { codes: B, scales, zeroPoints };
}

async function* floats(tensor: LazyTensor, dtype: DType, options: ReadOptions): AsyncGenerator<Uint8Array> {
  for await (const rows of streamRows(tensor, options)) {
    yield tensor.dtype === dtype ? rows.bytes : bytesOf(decode(rows as PackedTensor<DType>));
  }
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

const POSITIONS_AT_ONCE = 4096;

/** Computed in float64, rounded to float32. */
function* rotaryTable(from: 'cosines' | 'sines', frequencies: Float64Array, positions: number): Generator<Uint8Array> {
  const value = from === 'cosines' ? Math.cos : Math.sin;
  for (let start = 0; start < positions; start += POSITIONS_AT_ONCE) {
    const count = Math.min(POSITIONS_AT_ONCE, positions - start);
    const rows = new Float32Array(count * frequencies.length);
    for (let row = 0, at = 0; row < count; row++) {
      for (const frequency of frequencies) rows[at++] = value((start + row) * frequency);
    }
    yield bytesOf(rows);
  }
}

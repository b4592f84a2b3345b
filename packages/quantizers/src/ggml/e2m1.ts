/**
 * MXFP4 and NVFP4 as ggml's reference encoders choose them: 4-bit floats, halves rounded towards zero, never -0.
 * Source: ggml-quants.c, quantize_row_{mxfp4,nvfp4}_ref; ggml-impl.h, ggml_fp32_to_ue4m3.
 */
import {
  type GgmlType,
  HalftoneError,
  type PackedTensor,
  type QuantizeContext,
  type QuantizedParts,
  type Tensor,
  toFloat32,
} from '@halftone/tensor';
import { largestMagnitudes } from '../internal/largest-magnitude.js';
import type { WeightRows } from '../internal/weight.js';

export type E2m1Type = Extract<GgmlType, 'MXFP4' | 'NVFP4'>;

const LARGEST = 6;
/**
 * Codes by quarters of the scale: the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6 change at multiples of a quarter. The second half is
 * for negative values.
 */
const QUARTERS = 32;
const CODE_OF_QUARTER = /* @__PURE__ */ Uint8Array.from({ length: 2 * QUARTERS }, (_, i) => {
  const quarter = i % QUARTERS;
  const code = [1, 3, 5, 7, 10, 14, 20].filter((midpoint) => quarter >= midpoint).length;
  return code > 0 && i >= QUARTERS ? code + 8 : code;
});
/** Puts halves, and no other float32 value, below the midpoint. */
const JUST_BELOW_ONE = 1 - 2 ** -40;

/**
 * MXFP4: a power of two for each 32, so that the largest magnitude falls into 4 .. 8 (above 6 it is clipped).
 * NVFP4: `absmax / 6` as E4M3 for each 16, halves rounded up; from 256 on ggml takes 448.
 * Throws `NUMERIC` where NVFP4 would clip: above 2688.
 */
export function chooseE2m1Scales(
  { data, rows, columns }: WeightRows,
  type: E2m1Type,
  context: QuantizeContext,
): Omit<QuantizedParts, 'codes'> {
  const size = type === 'MXFP4' ? 32 : 16;
  const bytes = new Uint8Array(data.length / size);
  const magnitudes = new Float32Array(bytes.length);
  largestMagnitudes(data, size, magnitudes);
  for (let group = 0; group < bytes.length; group++) {
    const absmax = magnitudes[group];
    if (type === 'NVFP4' && absmax > LARGEST * 448) throw tooLarge(context, group * size, columns, absmax);
    bytes[group] = type === 'MXFP4' ? powerOfTwo(absmax) : unsignedE4m3(Math.fround(absmax / LARGEST));
  }
  const scales: PackedTensor = {
    kind: 'packed',
    dtype: type === 'MXFP4' ? 'f8_e8m0' : 'f8_e4m3',
    shape: [rows, columns / size],
    bytes,
  };
  return { scales };
}

/** Codes on the scales of `chooseE2m1Scales`. */
export function chooseE2m1Codes({ data }: WeightRows, parts: Omit<QuantizedParts, 'codes'>): Uint8Array {
  const codes = new Uint8Array(data.length);
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  const scales = toFloat32(parts.scales as Tensor);
  const size = data.length / scales.length;
  for (let group = 0; group < scales.length; group++) {
    const scale = scales[group];
    if (scale === 0) continue;
    const quarters = (4 / scale) * JUST_BELOW_ONE;
    for (let i = group * size; i < (group + 1) * size; i++) {
      const quarter = (Math.abs(data[i]) * quarters) | 0;
      codes[i] = CODE_OF_QUARTER[(quarter < QUARTERS ? quarter : QUARTERS - 1) + (bits[i] >>> 31) * QUARTERS];
    }
  }
  return codes;
}

/** E8M0 of `2^(floor(log2 absmax) - 2)`, the smallest for zeros. The logarithm is rounded to float32, as ggml's is. */
function powerOfTwo(absmax: number): number {
  return absmax === 0 ? 0 : Math.max(0, Math.floor(Math.fround(Math.log2(absmax))) - 2 + 127);
}

function unsignedE4m3(scale: number): number {
  const smallestNormal = 2 ** -6;
  if (scale < smallestNormal) return Math.min(7, Math.floor(Math.fround(scale * 512) + 0.5));
  const exponent = Math.floor(Math.log2(scale));
  if (exponent >= 8) return 0x7e;
  // 8 .. 15, or 16, which carries into the exponent.
  const mantissa = Math.floor(scale / 2 ** (exponent - 3) + 0.5);
  const code = ((exponent + 7) << 3) + mantissa - 8;
  return code >= 0x78 ? 0x7e : code;
}

function tooLarge(context: QuantizeContext, index: number, columns: number, absmax: number): HalftoneError {
  const row = Math.floor(index / columns);
  const column = index % columns;
  return new HalftoneError(
    'NUMERIC',
    `${context.name}: the weights at row ${row} from column ${column} are too large for NVFP4, which ends at 2688; use MXFP4`,
    { where: 'ggml:NVFP4', details: { tensor: context.name, row, column, absmax } },
  );
}

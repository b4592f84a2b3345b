/** compressed-tensors layers of small floats: FP8, MXFP8, NVFP4 and MXFP4. */
import {
  type DType,
  type Grid,
  type LazyQuantizedTensor,
  type LazyTensor,
  nativeData,
  type PackedTensor,
  packed,
  type Scheme,
} from '@halftone/tensor';
import { type CompressedLayer, fail, SCALE_TYPES, scalePart, WHERE } from './compressed-tensors-parts.js';
import { expectShape, findPart, matrixSides, needPart, storedWeight } from './weight-parts.js';

const E4M3: Grid = { type: 'float', exponent: 4, mantissa: 3, bias: 7 };
const E2M1: Grid = { type: 'float', exponent: 2, mantissa: 1, bias: 1 };

/** float-quantized, and mxfp8-quantized where the scales are bytes. */
export function float8Weight(layer: CompressedLayer): LazyQuantizedTensor {
  const { checkpoint, module } = layer;
  const weight = needPart(checkpoint, `${module}.weight`, ['f8_e4m3'], WHERE);
  return floats(layer, weight, matrixSides(weight, WHERE), E4M3, [...SCALE_TYPES, 'u8', 'f8_e8m0']);
}

/** nvfp4-pack-quantized, and mxfp4-pack-quantized where there is no global scale. Two codes a byte, the even one low. */
export function float4Weight(layer: CompressedLayer): LazyQuantizedTensor {
  const { checkpoint, module } = layer;
  const weight = needPart(checkpoint, `${module}.weight_packed`, ['u8'], WHERE);
  const [rows, width] = matrixSides(weight, WHERE);
  const globalScale = findPart(checkpoint, `${module}.weight_global_scale`, ['f32'], WHERE);
  if (globalScale !== undefined) expectShape(globalScale, WHERE, [1], []);
  const scaleTypes = globalScale === undefined ? (['u8', 'f8_e8m0'] as const) : (['f8_e4m3'] as const);
  return floats(layer, weight, [rows, width * 2], E2M1, scaleTypes, globalScale);
}

function floats(
  layer: CompressedLayer,
  weight: LazyTensor<'f8_e4m3' | 'u8'>,
  shape: readonly [number, number],
  grid: Grid,
  scaleTypes: readonly DType[],
  globalScale?: LazyTensor<'f32'>,
): LazyQuantizedTensor {
  const { module, settings } = layer;
  if (!settings.symmetric) fail('UNSUPPORTED', `${module}: floats with zero points are not read`, { module });
  const { granularity, scales } = scalePart(layer, shape, scaleTypes);
  const scheme: Scheme = { name: 'float', version: 1, grid, granularity };
  const codeType = weight.dtype === 'u8' ? 'f4_e2m1' : weight.dtype;
  return storedWeight({
    layout: WHERE,
    name: `${module}.weight`,
    shape,
    scheme,
    parts: { weight, scales, globalScale },
    decode(parts) {
      const read = parts.scales as PackedTensor<DType>;
      return {
        kind: 'quantized',
        shape,
        scheme,
        parts: {
          codes: packed(codeType, shape, (parts.weight as PackedTensor).bytes),
          scales: read.dtype === 'u8' ? packed('f8_e8m0', read.shape, read.bytes) : read,
          ...(parts.globalScale === undefined ? {} : { globalScale: readGlobalScale(parts.globalScale, module) }),
        },
      };
    },
  });
}

/**
 * The reciprocal in float64 of the number that group scales are divided by. With scales of four significant bits,
 * `fround(scale * (1 / g))` is the correctly rounded float32 quotient `scale / g`: no quotient of two float32 lies so near
 * the middle between two float32 that the error of the reciprocal, 2^-53, could matter.
 */
function readGlobalScale(part: PackedTensor, module: string): number {
  const divisor = nativeData(part as PackedTensor<'f32'>)[0] as number;
  if (divisor > 0 && divisor < Infinity) return 1 / divisor;
  return fail('RANGE', `${module}.weight_global_scale is ${divisor}, not a positive number`, { module, divisor });
}

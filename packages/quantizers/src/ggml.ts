import { GGML_TYPES, type GgmlType, HalftoneError, type QuantizeContext, type Tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { chooseKQuantAffineScales, type KQuantAffineType } from './ggml/k-quant-affine.js';
import { chooseKQuantSymmetricScales } from './ggml/k-quant-symmetric.js';
import { chooseWeightedLegacyScales, type LegacyType, quantizeLegacy } from './ggml/legacy.js';
import type { FrozenGrid, GridQuantizer } from './grid-quantizer.js';
import { inputImportance, type WeightRows, weightRows } from './internal/weight.js';
import { roundNearest, withCodes } from './round-nearest.js';

export interface GgmlOptions {
  /**
   * Whether `statistics.inputSquares` (llama.cpp's importance matrix) weighs the error: `true` demands it,
   * `false` ignores it, undefined uses it where the context has it. Q8_0 never uses it.
   */
  readonly importance?: boolean;
}

/**
 * ggml's block formats. Rows must be whole blocks: 32 columns for the legacy types, 256 for K-quants.
 *
 * Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 without importance give the bytes of ggml's reference encoder, which picks codes before
 * it rounds scales to f16. All other cases minimise the weighted squared error that ggml's encoders minimise, by the same
 * candidates, and pick the codes nearest to the stored grid.
 *
 * Throws `SHAPE` for partial blocks, `NUMERIC` for weights that are not finite and where a scale exceeds float16 (65504),
 * `UNSUPPORTED` when `importance: true` finds no statistics.
 * Sources: ggml-quants.c of llama.cpp; layouts in `GGML_SCHEMES`.
 */
export function ggml(type: GgmlType, options: GgmlOptions = {}): GridQuantizer {
  if (!isEncodedType(type))
    throw new HalftoneError('UNSUPPORTED', `there is no encoder for ${type} yet`, { where: 'ggml' });
  const scheme = GGML_SCHEMES[type];
  const where = `ggml:${type}`;
  const weighted = options.importance !== false && type !== 'Q8_0';

  const read = (weight: Tensor<Float32Array>, context: QuantizeContext): WeightRows => {
    const rows = weightRows(weight, context, where);
    const { blockSize } = GGML_TYPES[type];
    if (rows.columns % blockSize !== 0) {
      throw new HalftoneError(
        'SHAPE',
        `${context.name}: rows of ${rows.columns} columns are not whole ${type} blocks of ${blockSize}; use the type that ggmlFallback gives`,
        { where, details: { tensor: context.name, columns: rows.columns, blockSize } },
      );
    }
    return rows;
  };
  const importanceOf = (columns: number, context: QuantizeContext): Float64Array | undefined => {
    const importance = weighted ? inputImportance(context, columns, where) : undefined;
    if (options.importance === true && weighted && importance === undefined) {
      throw new HalftoneError(
        'UNSUPPORTED',
        `${context.name}: no inputSquares; calibrate first or leave importance undefined`,
        {
          where,
          details: { tensor: context.name },
        },
      );
    }
    return importance;
  };
  const chooseScales = (weight: Tensor<Float32Array>, context: QuantizeContext): FrozenGrid => {
    const rows = read(weight, context);
    const importance = importanceOf(rows.columns, context);
    const shape = [rows.rows, rows.columns];
    switch (type) {
      case 'Q2_K':
      case 'Q4_K':
      case 'Q5_K':
        return { scheme, shape, parts: chooseKQuantAffineScales(rows, type, importance, context) };
      case 'Q3_K':
      case 'Q6_K':
        return { scheme, shape, parts: chooseKQuantSymmetricScales(rows, type, importance, context) };
      default:
        if (importance === undefined || type === 'Q8_0')
          return { scheme, shape, parts: quantizeLegacy(rows, type, context).parts };
        return { scheme, shape, parts: chooseWeightedLegacyScales(rows, type, importance, context) };
    }
  };
  return {
    name: `ggml-${type}`,
    scheme,
    needs: options.importance === true && weighted ? ['inputSquares'] : [],
    rowwise: true,
    chooseScales,
    chooseCodes: roundNearest,
    quantize(weight, context) {
      if (type === 'Q8_0' || type === 'Q4_0' || type === 'Q4_1' || type === 'Q5_0' || type === 'Q5_1') {
        const rows = read(weight, context);
        if (importanceOf(rows.columns, context) === undefined) {
          const { parts, codes } = quantizeLegacy(rows, type, context);
          return withCodes({ scheme, shape: [rows.rows, rows.columns], parts }, codes);
        }
      }
      return roundNearest(weight, chooseScales(weight, context), context);
    },
  };
}

function isEncodedType(type: GgmlType): type is LegacyType | KQuantAffineType | 'Q3_K' | 'Q6_K' {
  return type in GGML_SCHEMES && /^Q[2-8]_(0|1|K)$/.test(type) && type !== 'Q2_0';
}

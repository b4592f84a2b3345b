import {
  GGML_TYPES,
  type GgmlType,
  HalftoneError,
  isGgmlType,
  type QuantizeContext,
  type QuantizedTensor,
  type Tensor,
} from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { ggmlEncoder } from './ggml/encoder.js';
import type { FrozenGrid, GridQuantizer } from './grid-quantizer.js';
import { inputImportance, type WeightRows, weightRows } from './internal/weight.js';
import { withCodes } from './round-nearest.js';

export interface GgmlOptions {
  /**
   * Whether `statistics.inputSquares` (llama.cpp's importance matrix) weighs the error: `true` demands it,
   * `false` ignores it, undefined uses it where the context has it. Q8_0, TQ1_0, TQ2_0, Q1_0, Q2_0, MXFP4 and NVFP4 never use it.
   */
  readonly importance?: boolean;
}

/**
 * ggml's block formats. Rows must be whole blocks: `GGML_TYPES[type].blockSize` columns.
 *
 * Q4_0, Q4_1, Q5_0, Q5_1 without importance and the types that ignore it give the bytes of ggml's reference encoder, which
 * picks codes before it rounds scales. (Q2_0 differs in blocks below 3e-39, which are zero on both sides.) All other cases minimise
 * the weighted squared error that ggml's encoders minimise, and pick the codes nearest to the stored grid.
 * IQ1_S, IQ2_XXS and IQ2_XS work without importance too, which ggml refuses: errors are then weighed by x² plus a share of its mean.
 *
 * The quantizer keeps the tables of a lattice, made at its first use, and scratch memory.
 *
 * Throws `SHAPE` for partial blocks, `NUMERIC` for weights that are not finite, where a scale exceeds float16 (65504) and where
 * NVFP4 ends (2688), `UNSUPPORTED` when `importance: true` finds no statistics.
 * Sources: ggml-quants.c of llama.cpp; layouts in `GGML_SCHEMES`.
 */
export function ggml(type: GgmlType, options: GgmlOptions = {}): GridQuantizer {
  if (!isGgmlType(type)) {
    throw new HalftoneError('UNSUPPORTED', `${JSON.stringify(type)} is no ggml block type`, { where: 'ggml' });
  }
  const scheme = GGML_SCHEMES[type];
  const where = `ggml:${type}`;
  const encoder = ggmlEncoder(type);
  const weighted = options.importance !== false && encoder.usesImportance;

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
    const parts = encoder.chooseScales(rows, importanceOf(rows.columns, context), context);
    return { scheme, shape: [rows.rows, rows.columns], parts };
  };
  const chooseCodes = (weight: Tensor<Float32Array>, grid: FrozenGrid, context: QuantizeContext): QuantizedTensor =>
    encoder.chooseCodes(weight, grid, importanceOf(grid.shape[1], context), context);
  return {
    name: `ggml-${type}`,
    scheme,
    needs: options.importance === true && weighted ? ['inputSquares'] : [],
    rowwise: true,
    chooseScales,
    chooseCodes,
    quantize(weight, context) {
      if (encoder.reference !== undefined) {
        const rows = read(weight, context);
        if (importanceOf(rows.columns, context) === undefined) {
          const { parts, codes } = encoder.reference(rows, context);
          return withCodes({ scheme, shape: [rows.rows, rows.columns], parts }, codes);
        }
      }
      return chooseCodes(weight, chooseScales(weight, context), context);
    },
  };
}

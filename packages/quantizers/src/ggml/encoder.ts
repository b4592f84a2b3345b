import type { GgmlType, QuantizeContext, QuantizedParts, QuantizedTensor, Tensor } from '@halftone/tensor';
import type { FrozenGrid } from '../grid-quantizer.js';
import { type LatticeGroup, latticeGroup } from '../internal/lattice-group.js';
import type { WeightRows } from '../internal/weight.js';
import { gridRows, roundNearest, withCodes } from '../round-nearest.js';
import { chooseE2m1Codes, chooseE2m1Scales } from './e2m1.js';
import { chooseIq4Scales } from './iq4.js';
import { chooseKQuantAffineScales } from './k-quant-affine.js';
import { chooseKQuantSymmetricScales } from './k-quant-symmetric.js';
import { chooseLatticeCodes, chooseLatticeScales } from './lattice.js';
import { LATTICE_RULES, type LatticeType } from './lattice-types.js';
import { chooseWeightedLegacyScales, quantizeLegacy } from './legacy.js';
import { quantizeLowBit } from './low-bit.js';

type GridParts = Omit<QuantizedParts, 'codes'>;

interface ScalesAndCodes {
  readonly parts: GridParts;
  readonly codes: Uint8Array;
}

/** How one type is encoded. `importance` is undefined where there is none, and for types that make no use of it. */
export interface GgmlEncoder {
  readonly usesImportance: boolean;
  chooseScales(rows: WeightRows, importance: Float64Array | undefined, context: QuantizeContext): GridParts;
  /** The nearest values of the grid. */
  chooseCodes(
    weight: Tensor<Float32Array>,
    grid: FrozenGrid,
    importance: Float64Array | undefined,
    context: QuantizeContext,
  ): QuantizedTensor;
  /** ggml's reference encoder where it is followed to the byte: without importance it chooses scales and codes together. */
  readonly reference?: (rows: WeightRows, context: QuantizeContext) => ScalesAndCodes;
}

export function ggmlEncoder(type: GgmlType): GgmlEncoder {
  switch (type) {
    case 'Q8_0':
      return referenceEncoder((rows, context) => quantizeLegacy(rows, type, context));
    case 'TQ1_0':
    case 'TQ2_0':
    case 'Q1_0':
    case 'Q2_0':
      return referenceEncoder((rows, context) => quantizeLowBit(rows, type, context));
    case 'MXFP4':
    case 'NVFP4':
      return referenceEncoder((rows, context) => {
        const parts = chooseE2m1Scales(rows, type, context);
        return { parts, codes: chooseE2m1Codes(rows, parts) };
      });
    case 'Q4_0':
    case 'Q4_1':
    case 'Q5_0':
    case 'Q5_1': {
      const reference = (rows: WeightRows, context: QuantizeContext) => quantizeLegacy(rows, type, context);
      return {
        ...scalarEncoder((rows, importance, context) =>
          importance === undefined
            ? reference(rows, context).parts
            : chooseWeightedLegacyScales(rows, type, importance, context),
        ),
        reference,
      };
    }
    case 'Q2_K':
    case 'Q4_K':
    case 'Q5_K':
      return scalarEncoder((rows, importance, context) => chooseKQuantAffineScales(rows, type, importance, context));
    case 'Q3_K':
    case 'Q6_K':
      return scalarEncoder((rows, importance, context) => chooseKQuantSymmetricScales(rows, type, importance, context));
    case 'IQ4_NL':
    case 'IQ4_XS':
      return scalarEncoder((rows, importance, context) => chooseIq4Scales(rows, type, importance, context));
    default:
      return latticeEncoder(type);
  }
}

function scalarEncoder(chooseScales: GgmlEncoder['chooseScales']): GgmlEncoder {
  return {
    usesImportance: true,
    chooseScales,
    chooseCodes: (weight, grid, _importance, context) => roundNearest(weight, grid, context),
  };
}

function referenceEncoder(reference: NonNullable<GgmlEncoder['reference']>): GgmlEncoder {
  const chooseScales: GgmlEncoder['chooseScales'] = (rows, _importance, context) => reference(rows, context).parts;
  return { ...scalarEncoder(chooseScales), usesImportance: false, reference };
}

function latticeEncoder(type: LatticeType): GgmlEncoder {
  let tables: LatticeGroup | undefined;
  const group = (): LatticeGroup => {
    tables ??= latticeGroup(LATTICE_RULES[type]);
    return tables;
  };
  return {
    usesImportance: true,
    chooseScales: (rows, importance, context) => chooseLatticeScales(rows, type, group(), importance, context),
    chooseCodes(weight, grid, importance, context) {
      const rows = gridRows(weight, grid, context);
      const { codes, signs } = chooseLatticeCodes(rows, type, group(), grid, importance ?? 'magnitude');
      return withCodes(grid, codes, signs);
    },
  };
}

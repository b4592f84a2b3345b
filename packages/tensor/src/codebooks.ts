/**
 * Tables that quantizers, file formats and kernels share. A module of its own, so that only those who need tables load them.
 */
import type { GgmlSuperBlockType } from './ggml-schemes.js';
import type { GgmlType } from './ggml-types.js';
import { type LatticeName, latticeVectors } from './lattices.js';
import type { Tensor } from './types.js';
import { tensor } from './view.js';

export { type LatticeName, latticeVectors } from './lattices.js';

/**
 * NormalFloat: 16 quantiles of a normal distribution, scaled to [-1, 1].
 * Source: QLoRA (arXiv 2305.14314), appendix E; the digits are those of bitsandbytes.
 */
export const NF4_VALUES: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** bitsandbytes' 4-bit float by code: sign in the highest bit, magnitudes over 12. */
export const FP4_VALUES: readonly number[] = [0, 0.0625, 8, 12, 4, 6, 2, 3, -0, -0.0625, -8, -12, -4, -6, -2, -3].map(
  (value) => Math.fround(value / 12),
);

/** The table of IQ4_NL and IQ4_XS. Source: ggml-common.h, `kvalues_iq4nl`. */
export const IQ4_NL_VALUES: readonly number[] = [
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/** The codebook `[entries, vectorLength]` of a ggml type whose grid is a lookup, as listed at `GGML_SCHEMES`; else undefined. */
export function ggmlCodebook(type: GgmlType): Tensor<Float32Array> | undefined {
  switch (type) {
    case 'IQ4_NL':
    case 'IQ4_XS':
      return table(IQ4_NL_VALUES);
    case 'IQ2_XXS':
    case 'IQ2_XS':
    case 'IQ2_S':
    case 'IQ3_XXS':
    case 'IQ3_S':
      return lattice(latticeVectors(type.toLowerCase() as LatticeName), type.startsWith('IQ2') ? 8 : 4);
    case 'IQ1_S':
    case 'IQ1_M': {
      const points = latticeVectors('iq1');
      const both = new Float32Array(2 * points.length);
      for (let i = 0; i < points.length; i++) {
        both[i] = (points[i] as number) + 0.125;
        both[points.length + i] = (points[i] as number) - 0.125;
      }
      return lattice(both, 8);
    }
    case 'TQ1_0':
      return table([-1, 0, 1]);
    case 'TQ2_0':
    case 'Q2_0':
      return table([-1, 0, 1, 2]);
    case 'Q1_0':
      return table([-1, 1]);
    default:
      return undefined;
  }
}

/** The codebook of a type's group scales, where they are looked up: multiples of the super-scale by code `s`; else undefined. */
export function ggmlScaleCodebook(type: GgmlSuperBlockType): Tensor<Float32Array> | undefined {
  switch (type) {
    case 'IQ2_XXS':
    case 'IQ2_XS':
    case 'IQ2_S':
      return table(multiples(16, (s) => (0.5 + s) / 4));
    case 'IQ3_XXS':
      return table(multiples(16, (s) => (0.5 + s) / 2));
    case 'IQ3_S':
      return table(multiples(16, (s) => 1 + 2 * s));
    case 'IQ1_S':
    case 'IQ1_M':
      return table(multiples(8, (s) => 1 + 2 * s));
    default:
      return undefined;
  }
}

function multiples(count: number, multiple: (code: number) => number): number[] {
  return Array.from({ length: count }, (_, code) => multiple(code));
}

function table(values: readonly number[]): Tensor<Float32Array> {
  return lattice(Float32Array.from(values), 1);
}

function lattice(values: Float32Array, vectorLength: number): Tensor<Float32Array> {
  return tensor(values, [values.length / vectorLength, vectorLength]);
}

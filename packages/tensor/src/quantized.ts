import type { NativeArray, PackedTensor, Shape, Tensor } from './types.js';

/** The finite set of values a code can stand for, before scaling. */
export type Grid =
  /**
   * Integers. Unsigned codes are `0 .. 2^bits - 1`, signed ones `-2^(bits-1) .. 2^(bits-1) - 1`.
   * `value = scale * (code - zero) + offset`, with zero and offset 0 where the part is absent.
   * `symmetric` says that neither part is present.
   */
  | { readonly type: 'affine'; readonly bits: number; readonly signed: boolean; readonly symmetric: boolean }
  /** Small floats: sign, `exponent` bits, `mantissa` bits. */
  | { readonly type: 'float'; readonly exponent: number; readonly mantissa: number; readonly bias: number }
  /**
   * Codes index `parts.codebook`, whose rows are vectors of `vectorLength` values. With `signs`, the codebook holds magnitudes
   * and `parts.signs` says which elements are negative.
   */
  | {
      readonly type: 'lookup';
      readonly bits: number;
      readonly vectorLength: number;
      readonly stages: number;
      readonly signs?: boolean;
    };

/** Which elements share a scale. Axes count from 0; axis 1 of a weight `[out, in]` is the input. */
export type Granularity =
  | { readonly type: 'tensor' }
  /** One parameter for each index of `axis`: shape `[n]`. `axis: 0` is "per row" or "per output channel". */
  | { readonly type: 'axis'; readonly axis: number }
  /** One parameter for each run of `size` elements along `axis`, the last run may be shorter: shape `[out, ceil(in / size)]`. */
  | { readonly type: 'group'; readonly axis: number; readonly size: number }
  | { readonly type: 'block'; readonly rows: number; readonly columns: number };

/** What must be done to the input before the matrix product: `y = W_q T(x)`. JSON. */
export interface InputTransform {
  readonly type: string;
  readonly [option: string]: unknown;
}

/** How a quantized tensor is decoded, never how it was found. JSON. */
export interface Scheme {
  /** `affine`, or a name that fixes the layout as well, such as `ggml:Q4_K`. */
  readonly name: string;
  readonly version: number;
  readonly grid: Grid;
  readonly granularity: Granularity;
  readonly input?: readonly InputTransform[];
  readonly params?: Readonly<Record<string, unknown>>;
}

/** Compressed sparse rows, `[rows, columns]`. */
export interface SparseTensor {
  readonly shape: readonly [number, number];
  readonly rowPointers: Uint32Array;
  readonly columns: Uint32Array;
  readonly values: Float32Array;
}

/** Codes are one a byte (or 16-bit word) while they are worked on, or densely packed. */
export type Codes = Tensor<Uint8Array | Int8Array | Uint16Array | Int16Array> | PackedTensor;

/** Scales, zeros and offsets: floats, encoded floats (f16), or again quantized (K-quants, double quantization, NVFP4). */
export type ParameterTensor = Tensor<NativeArray> | PackedTensor | QuantizedTensor;

export interface QuantizedParts {
  /** Shape of the tensor itself (vector grids: of the vectors). */
  readonly codes: Codes;
  /** Shape given by the granularity. */
  readonly scales?: ParameterTensor;
  /** In units of codes. Same shape as `scales`. */
  readonly zeros?: ParameterTensor;
  /** In units of values (ggml calls its negative "min", MLX calls it "bias"). Same shape as `scales`. */
  readonly offsets?: ParameterTensor;
  /** One factor for the whole tensor, multiplied into the scales. */
  readonly globalScale?: number;
  readonly codebook?: Tensor<Float32Array>;
  /** One for each element, in the shape of the tensor: 1 where the value of the codebook is negated, else 0. */
  readonly signs?: Codes;
  /** `[in]`: the group of each input column (GPTQ's g_idx). */
  readonly groupIndex?: Uint32Array;
  /** `[in]`: column `permutation[j]` of the logical tensor is stored at `j`. */
  readonly permutation?: Uint32Array;
  /** `[in]`: multiplied into the columns after decoding. */
  readonly channelScale?: Float32Array;
  /** Added after decoding. */
  readonly outliers?: SparseTensor;
  /** `left [out, rank]` times `right [rank, in]`, added after decoding. */
  readonly lowRank?: { readonly left: Tensor<Float32Array>; readonly right: Tensor<Float32Array> };
}

/** A quantized tensor of logical shape `shape`. Results of every quantizer share this form and one decoder. */
export interface QuantizedTensor {
  readonly kind: 'quantized';
  readonly shape: Shape;
  readonly scheme: Scheme;
  readonly parts: QuantizedParts;
}

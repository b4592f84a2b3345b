import type { DType, Shape } from '@halftone/tensor';

/** An attribute of a node. Tensors and graphs are named by their type only. */
export type OnnxAttribute =
  | { readonly type: 'float'; readonly value: number }
  /** A bigint only beyond 2^53. */
  | { readonly type: 'int'; readonly value: number | bigint }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'floats'; readonly value: readonly number[] }
  | { readonly type: 'ints'; readonly value: readonly (number | bigint)[] }
  | { readonly type: 'other' };

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** Empty for the operators of ONNX itself. */
  readonly domain: string;
  /** Names of values; empty for optional inputs that are left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

/** An input or output of the model. */
export interface OnnxValue {
  readonly name: string;
  /** Absent for what is not a tensor, or of a type that has no element type here. */
  readonly dtype?: DType;
  /** Names stand for sizes that are known when the model runs, `''` for nameless ones. */
  readonly shape?: readonly (number | string)[];
}

/** A model without its weights. */
export interface OnnxModel {
  readonly irVersion: number;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: number;
  readonly docString: string;
  /** Version of each operator set by its domain, `''` for ONNX itself. */
  readonly opsets: ReadonlyMap<string, number>;
  /** `metadata_props` */
  readonly metadata: ReadonlyMap<string, string>;
  readonly graph: {
    readonly name: string;
    readonly nodes: readonly OnnxNode[];
    readonly inputs: readonly OnnxValue[];
    readonly outputs: readonly OnnxValue[];
  };
}

/** Where a tensor lies outside the model's file. */
export interface OnnxExternalData {
  /** Relative to the model's folder, with `/`. */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** A constant tensor of a model that is to be written. */
export interface OnnxInitializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Elements little-endian and dense, 4-bit elements two a byte; or the place in another file. */
  readonly data: Uint8Array | OnnxExternalData;
}

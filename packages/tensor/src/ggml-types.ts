/** ggml's storage types that this version reads and writes. */
export type GgmlType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K';

export interface GgmlTypeInfo {
  /** `enum ggml_type`. */
  readonly id: number;
  /** Elements in a block. A row is a whole number of blocks. */
  readonly blockSize: number;
  readonly blockBytes: number;
}

/** Block geometry of ggml types. Source: ggml-common.h. */
export const GGML_TYPES: Readonly<Record<GgmlType, GgmlTypeInfo>> = {
  Q4_0: { id: 2, blockSize: 32, blockBytes: 18 },
  Q4_1: { id: 3, blockSize: 32, blockBytes: 20 },
  Q5_0: { id: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { id: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { id: 8, blockSize: 32, blockBytes: 34 },
  Q2_K: { id: 10, blockSize: 256, blockBytes: 84 },
  Q3_K: { id: 11, blockSize: 256, blockBytes: 110 },
  Q4_K: { id: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { id: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { id: 14, blockSize: 256, blockBytes: 210 },
};

export function isGgmlType(type: string): type is GgmlType {
  return Object.hasOwn(GGML_TYPES, type);
}

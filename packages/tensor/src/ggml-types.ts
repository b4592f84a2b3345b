/** ggml's block types. */
export type GgmlType =
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q8_0'
  | 'Q2_K'
  | 'Q3_K'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K'
  | 'IQ1_S'
  | 'IQ1_M'
  | 'IQ2_XXS'
  | 'IQ2_XS'
  | 'IQ2_S'
  | 'IQ3_XXS'
  | 'IQ3_S'
  | 'IQ4_NL'
  | 'IQ4_XS'
  | 'TQ1_0'
  | 'TQ2_0'
  | 'MXFP4'
  | 'NVFP4'
  | 'Q1_0'
  | 'Q2_0';

export interface GgmlTypeInfo {
  /** Elements in a block. A row is a whole number of blocks. */
  readonly blockSize: number;
  readonly blockBytes: number;
}

/** Block geometry of ggml types. Source: ggml-common.h. */
export const GGML_TYPES: Readonly<Record<GgmlType, GgmlTypeInfo>> = /* @__PURE__ */ (() => {
  // Runs of a block size and the types that have it, each with its bytes.
  const types =
    '32 Q4_0 18 Q4_1 20 Q5_0 22 Q5_1 24 Q8_0 34 IQ4_NL 18 MXFP4 17 64 NVFP4 36 Q2_0 18 128 Q1_0 18 256 Q2_K 84 Q3_K 110 ' +
    'Q4_K 144 Q5_K 176 Q6_K 210 IQ1_S 50 IQ1_M 56 IQ2_XXS 66 IQ2_XS 74 IQ2_S 82 IQ3_XXS 98 IQ3_S 110 IQ4_XS 136 TQ1_0 54 ' +
    'TQ2_0 66';
  const infos: Record<string, GgmlTypeInfo> = {};
  let blockSize = 0;
  for (const [, name, number] of types.matchAll(/([A-Z]\w*)? ?(\d+)/g)) {
    if (name === undefined) blockSize = Number(number);
    else infos[name] = { blockSize, blockBytes: Number(number) };
  }
  return infos as Record<GgmlType, GgmlTypeInfo>;
})();

export function isGgmlType(type: string): type is GgmlType {
  return Object.hasOwn(GGML_TYPES, type);
}

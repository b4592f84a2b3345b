import type { GgmlType } from '@halftone/tensor';
import type { Layout, Storage } from './layout.js';

/** How blocks are held: what `panelWeight` gives for the unpacked weight. */
export interface BlockForm {
  readonly layout: Layout;
  /** Taken from stored codes. */
  readonly center: number;
}

/** ggml block types. Codes that a file stores with a bias keep it, or a larger one, which `center` takes away again. */
export const BLOCK_FORMS: Readonly<Record<GgmlType, BlockForm>> = {
  Q4_0: form('nibble', 1, 8),
  Q4_1: form('nibble', 1, 'offsets'),
  Q5_0: form('sixBit', 1, 32),
  Q5_1: form('sixBit', 1, 'offsets'),
  Q8_0: form('byte', 1, 0),
  Q2_K: form('crumb', 2, 'offsets'),
  Q3_K: form('nibble', 2, 8),
  Q4_K: form('nibble', 1, 'offsets'),
  Q5_K: form('sixBit', 1, 'offsets'),
  Q6_K: form('sixBit', 2, 32),
};

/** Floats that become float32 panels. */
export const FLOAT_TYPES = ['f32', 'f16', 'bf16'] as const;

/** How a file may store a weight that is taken as it is. */
export type StoredType = GgmlType | (typeof FLOAT_TYPES)[number];

export function isStoredType(dtype: string): dtype is StoredType {
  return Object.hasOwn(BLOCK_FORMS, dtype) || FLOAT_TYPES.some((type) => type === dtype);
}

function form(storage: Storage, groups: 1 | 2, center: number | 'offsets'): BlockForm {
  const offsets = center === 'offsets';
  return { layout: { storage, groups, offsets }, center: offsets ? 0 : center };
}

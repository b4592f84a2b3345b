import type { GgmlType } from '@halftone/tensor';
import { IQ4_NL_VALUES } from '@halftone/tensor/codebooks';
import type { QuantizedForm } from './held-weight.js';
import type { Storage } from './layout.js';
import { codeEntries } from './tables.js';

/** Twice the values of E2M1 codes, which are integers: scales are halved. */
const E2M1_DOUBLES = [0, 1, 2, 3, 4, 6, 8, 12, -0, -1, -2, -3, -4, -6, -8, -12] as const;

/** Storage, groups of a block, and what is subtracted from stored codes; or that blocks have offsets; or the values of codes. */
type BlockForm = readonly [storage: Storage, groups: 1 | 2, center: number | 'offsets' | readonly number[]];

/** Codes that a file stores with a bias keep it, or a larger one, which the center takes away again. */
const BLOCK_FORMS = {
  Q4_0: ['nibble', 1, 8],
  Q4_1: ['nibble', 1, 'offsets'],
  Q5_0: ['sixBit', 1, 32],
  Q5_1: ['sixBit', 1, 'offsets'],
  Q8_0: ['byte', 1, 0],
  Q2_K: ['crumb', 2, 'offsets'],
  Q3_K: ['nibble', 2, 8],
  Q4_K: ['nibble', 1, 'offsets'],
  Q5_K: ['sixBit', 1, 'offsets'],
  Q6_K: ['sixBit', 2, 32],
  IQ4_NL: ['nibbleTable', 1, IQ4_NL_VALUES],
  IQ4_XS: ['nibbleTable', 1, IQ4_NL_VALUES],
  MXFP4: ['nibbleTable', 1, E2M1_DOUBLES],
} as const satisfies Readonly<Partial<Record<GgmlType, BlockForm>>>;

/** ggml types that are repacked as they are; others are unpacked first. */
export type RepackedType = keyof typeof BLOCK_FORMS;

export const REPACKED_TYPES = /* @__PURE__ */ Object.keys(BLOCK_FORMS) as readonly RepackedType[];

/** How ggml blocks are held: as `panelWeight` holds the unpacked weight for `int8` activations. */
export function blockForm(type: RepackedType): QuantizedForm {
  const [storage, groups, center]: BlockForm = BLOCK_FORMS[type];
  const offsets = center === 'offsets';
  const stored = typeof center === 'number' ? center : 0;
  const entries = typeof center === 'object' ? Float32Array.from(center) : codeEntries(stored);
  return { layout: { storage, groups, offsets }, center: stored, entries };
}

/** Floats that become float32 panels. */
export const FLOAT_TYPES = ['f32', 'f16', 'bf16'] as const;

/** How a file may store a weight that is taken as it is. */
export type StoredType = RepackedType | (typeof FLOAT_TYPES)[number];

export function isRepackedType(type: string): type is RepackedType {
  return Object.hasOwn(BLOCK_FORMS, type);
}

export function isStoredType(dtype: string): dtype is StoredType {
  return isRepackedType(dtype) || FLOAT_TYPES.some((type) => type === dtype);
}

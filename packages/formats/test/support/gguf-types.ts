import type { StorageType } from '@halftone/tensor';

/** Every storage type that a GGUF file of ours may hold, with the elements of its block. */
export const GGUF_TYPES: readonly (readonly [StorageType, number])[] = [
  ['f32', 1],
  ['f16', 1],
  ['bf16', 1],
  ['f64', 1],
  ['i8', 1],
  ['i16', 1],
  ['i32', 1],
  ['i64', 1],
  ['Q4_0', 32],
  ['Q4_1', 32],
  ['Q5_0', 32],
  ['Q5_1', 32],
  ['Q8_0', 32],
  ['Q2_K', 256],
  ['Q3_K', 256],
  ['Q4_K', 256],
  ['Q5_K', 256],
  ['Q6_K', 256],
];

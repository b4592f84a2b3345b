import { GGML_TYPES, type GgmlType, type StorageType } from '@halftone/tensor';

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
  ...Object.entries(GGML_TYPES).map(([type, { blockSize }]) => [type as GgmlType, blockSize] as const),
];

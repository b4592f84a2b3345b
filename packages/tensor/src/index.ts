export type * from './contracts.js';
export type { DType, DTypeInfo, FloatDType, IntDType } from './dtype.js';
export { type ErrorCode, HalftoneError, type HalftoneErrorOptions, isHalftoneError, throwIfAborted } from './error.js';
export { GGML_TYPES, type GgmlType, type GgmlTypeInfo, isGgmlType } from './ggml-types.js';
export type * from './quantized.js';
export { elementCount, rowMajorStride, sameShape } from './shape.js';
export type * from './types.js';
export { contiguousData, isContiguous, tensor } from './view.js';

export { GGML_SCALE_SCHEMES, GGML_SCHEMES, type GgmlSuperBlockType, ggmlTypeOf } from './ggml-schemes.js';
export { GGML_TYPES, type GgmlType, type GgmlTypeInfo, isGgmlType } from './ggml-types.js';

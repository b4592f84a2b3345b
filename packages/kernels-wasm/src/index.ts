export { type Attention, attention } from './attention.js';
export { type AttentionPartials, attentionPartials, finishPartials, mergePartials } from './attention-partials.js';
export { type CpuBackend, cpuBackend } from './cpu-backend.js';
export { type GgmlDecoder, ggmlDecoder } from './ggml-decoder.js';
export { type Int8Product, int8Product, type QuantizedRows, type QuantizeRowsOptions } from './int8-product.js';
export type { FloatArray } from './internal/algebra/operands.js';
export type { WasmBuild } from './internal/layout.js';
export type { CodedEntries, HalfEntries, KvEntries, KvSegment } from './kv-segment.js';
export {
  type BatchedGemm,
  type FactorOptions,
  type Gemm,
  type InverseFactorOptions,
  type LinearAlgebra,
  linearAlgebra,
  type SyrkOptions,
  type TriangularSystem,
} from './linear-algebra.js';
export { type Operations, wasmOperations } from './operations.js';
export { type PlainBackend, plainBackend } from './plain/backend.js';
export { plainInt8Product, plainQuantizeRows } from './plain/int8-product.js';
export { plainOperations } from './plain-operations.js';
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

export type { WasmBuild } from './internal/layout.js';
export { type BatchedGemm, type Gemm, type LinearAlgebra, linearAlgebra, type SyrkOptions } from './linear-algebra.js';
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

export type { FloatArray } from './internal/algebra/operands.js';
export type { WasmBuild } from './internal/layout.js';
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
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

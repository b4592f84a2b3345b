export type { WasmBuild } from './internal/layout.js';
export { type Operations, wasmOperations } from './operations.js';
export { plainOperations } from './plain-operations.js';
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

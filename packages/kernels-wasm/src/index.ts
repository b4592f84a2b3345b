export { type Int8Product, int8Product, type QuantizedRows, type QuantizeRowsOptions } from './int8-product.js';
export type { WasmBuild } from './internal/layout.js';
export { plainInt8Product, plainQuantizeRows } from './plain/int8-product.js';
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

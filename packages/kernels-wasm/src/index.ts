export { type Attention, attention } from './attention.js';
export { type AttentionPartials, attentionPartials, finishPartials, mergePartials } from './attention-partials.js';
export { type CpuBackend, cpuBackend } from './cpu-backend.js';
export type { WasmBuild } from './internal/layout.js';
export type { CodedEntries, HalfEntries, KvEntries, KvSegment } from './kv-segment.js';
export { type PlainBackend, plainBackend } from './plain/backend.js';
export { WASM_RUNTIME_DEFAULTS, type WasmRuntime, type WasmRuntimeOptions, wasmRuntime } from './runtime.js';
export { WASM_BACKEND_DEFAULTS, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm-backend.js';

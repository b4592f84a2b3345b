/** A program that uses one function: its bundle should carry the WebAssembly kernels and little else. */
import { wasmBackend } from '@halftone/kernels-wasm';

document.title = wasmBackend().name;

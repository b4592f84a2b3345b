/** A program that uses one constant: its bundle should carry no WebAssembly. */
import { WASM_BACKEND_DEFAULTS } from '@halftone/kernels-wasm';

document.title = WASM_BACKEND_DEFAULTS.build;

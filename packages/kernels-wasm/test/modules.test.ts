import { isHalftoneError } from '@halftone/tensor';
import { describe, expect, it, vi } from 'vitest';
import { WASM_BACKEND_DEFAULTS, wasmBackend } from '../src/index.js';
import { BUILDS } from './product.js';

describe('wasmBackend', () => {
  it('is named after its build', () => {
    const newest = BUILDS.at(-1);
    const backend = wasmBackend(WASM_BACKEND_DEFAULTS);
    expect([backend.build, backend.name]).toEqual([newest, `wasm-${newest}`]);
  });

  it('refuses engines without WebAssembly SIMD', () => {
    const validate = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    try {
      wasmBackend();
      expect.unreachable();
    } catch (error) {
      expect(isHalftoneError(error) && error.code).toBe('UNSUPPORTED');
    } finally {
      validate.mockRestore();
    }
  });
});

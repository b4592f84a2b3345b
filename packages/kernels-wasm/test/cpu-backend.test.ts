import { isHalftoneError, tensor } from '@halftone/tensor';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cpuBackend, wasmBackend } from '../src/index.js';
import { product } from './product.js';

describe('cpuBackend', () => {
  afterEach(() => vi.restoreAllMocks());

  it('is wasmBackend where that runs, with its options', async () => {
    const backend = cpuBackend({ build: 'simd', threads: 1 });
    const expected = wasmBackend({ build: 'simd', threads: 1 });
    expect(backend.name).toBe('wasm-simd');
    expect(backend.notes).toEqual(expected.notes);
    await backend.dispose();
    await expected.dispose();
  });

  it('falls back to plain TypeScript where the engine has no SIMD, and says so', () => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    const backend = cpuBackend();
    expect(backend.name).toBe('plain');
    expect(backend.notes).toHaveLength(1);
    expect(backend.notes[0]).toMatch(/cannot run here/);
    expect([...product(backend, tensor(Float32Array.of(1, 2), [1, 2]), Float32Array.of(3, 4), 1)]).toEqual([11]);
  });

  it('lets other errors through', () => {
    const refused = () => {
      try {
        cpuBackend({ threads: 0 });
      } catch (error) {
        return isHalftoneError(error) && error.code;
      }
    };
    expect(refused()).toBe('RANGE');
  });
});

import { isHalftoneError, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { describe, expect, it } from 'vitest';
import { referenceBackend } from '../src/index.js';

describe('referenceBackend', () => {
  const code = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (isHalftoneError(error)) return error.code;
      throw error;
    }
    return 'none';
  };

  it('copies what it takes, also from strided views', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    const bias = Float32Array.of(10, 20);
    const backend = referenceBackend();
    const weight = backend.uploadLinear({ data, shape: [2, 3], stride: [1, 2], offset: 0 }, bias);
    data.fill(0);
    bias.fill(0);
    const out = new Float32Array(2);
    backend.linear(weight, Float32Array.of(1, 10, 100), 1, out);
    expect([...out]).toEqual([531 + 10, 642 + 20]);
  });

  it('takes no rows', () => {
    const backend = referenceBackend();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(backend.linear(weight, new Float32Array(0), 0, new Float32Array(0))).toBeUndefined();
  });

  it('refuses what does not fit', () => {
    const backend = referenceBackend();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(weight, new Float32Array(5), 2, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 2, new Float32Array(3)))).toBe('SHAPE');
    expect(code(() => backend.linear(weight, new Float32Array(6), 1.5, new Float32Array(4)))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [6])))).toBe('SHAPE');
    expect(code(() => backend.uploadLinear(tensor(new Float32Array(6), [2, 3]), new Float32Array(3)))).toBe('SHAPE');
    expect(backend.supports(GGML_SCHEMES.Q4_K)).toBe(false);
    const quantized = {
      kind: 'quantized',
      shape: [1, 32],
      scheme: GGML_SCHEMES.Q8_0,
      parts: { codes: tensor(new Int8Array(32), [1, 32]) },
    } as const;
    expect(code(() => backend.uploadLinear(quantized))).toBe('UNSUPPORTED');
  });

  it('forgets what is released', () => {
    const backend = referenceBackend();
    const weight = backend.uploadLinear(tensor(new Float32Array(6), [2, 3]));
    backend.release(weight);
    expect(code(() => backend.linear(weight, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
    const other = referenceBackend().uploadLinear(tensor(new Float32Array(6), [2, 3]));
    expect(code(() => backend.linear(other, new Float32Array(3), 1, new Float32Array(2)))).toBe('DEVICE');
  });
});

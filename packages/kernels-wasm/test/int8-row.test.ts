import { dequantize, type Granularity, type QuantizedTensor, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { describe, expect, it } from 'vitest';
import { plainInt8Product, plainQuantizeRows, wasmBackend } from '../src/index.js';
import { noise, quantizedNoise } from './noise.js';
import { BUILDS, largestError, plainProduct, product } from './product.js';
import { withSides } from './sides.js';

function signed(bits: number, granularity: Granularity, columns = 256): QuantizedTensor {
  const grid = { type: 'affine', bits, signed: true, symmetric: true } as const;
  return quantizedNoise({ name: 'affine', version: 1, grid, granularity }, [21, columns]);
}

const AXIS: Granularity = { type: 'axis', axis: 0 };

describe.each(BUILDS)('activations of int8-row in the %s build', (build) => {
  const rowwise = wasmBackend({ build, activations: 'int8-row' });
  const blocks = wasmBackend({ build, activations: 'int8' });

  it.each([
    ['8 bits', signed(8, AXIS)],
    ['4 bits', signed(4, { type: 'tensor' }, 77)],
    ['4 bits in groups', signed(4, { type: 'group', axis: 1, size: 128 })],
  ])('are those of int8Product: %s', (_, q) => {
    const [outFeatures, inFeatures] = q.shape;
    const bias = noise(outFeatures, 4);
    for (const rows of [1, 7]) {
      const x = noise(rows * inFeatures, 2);
      const { codes, scales } = plainQuantizeRows(x, rows, inFeatures);
      const expected = new Float32Array(rows * outFeatures);
      plainInt8Product(q, bias, codes, scales, rows, expected);
      expect(product(rowwise, q, x, rows, bias)).toEqual(expected);
    }
  });

  it.each([
    ['small groups', signed(4, { type: 'group', axis: 1, size: 32 })],
    ['8 bits in groups', signed(8, { type: 'group', axis: 1, size: 128 })],
    ['Q4_K', quantizedNoise(GGML_SCHEMES.Q4_K, [21, 256])],
    ['float32', tensor(noise(21 * 256), [21, 256])],
  ])('are those of int8 where the weight does not fit: %s', (_, weight) => {
    const x = noise(3 * 256, 2);
    expect(product(rowwise, weight, x, 3)).toEqual(product(blocks, weight, x, 3));
  });

  it('leave inputs of side branches as they are', () => {
    const q = signed(8, AXIS);
    const zero = { ...q, parts: { ...q.parts, scales: tensor(new Float32Array(21), [21, 1]) } };
    const full = withSides(zero, { permutation: true, outliers: 'both', rank: 4 });
    const x = noise(5 * 256);
    const expected = plainProduct(dequantize(full), full.shape, x, 5);
    expect(largestError(product(rowwise, full, x, 5), expected)).toBeLessThan(1e-5);
  });

  it('refuse a weight that was released', () => {
    const weight = rowwise.uploadLinear(signed(8, AXIS));
    rowwise.release(weight);
    expect(() => rowwise.linear(weight, noise(256), 1, new Float32Array(21))).toThrow(
      expect.objectContaining({ code: 'DEVICE' }),
    );
  });
});

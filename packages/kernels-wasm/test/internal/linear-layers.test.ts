import { type QuantizedTensor, type Tensor, tensor } from '@halftone/tensor';
import { GGML_SCHEMES } from '@halftone/tensor/ggml';
import { afterAll, describe, expect, it } from 'vitest';
import { linearLayers } from '../../src/internal/linear-layers.js';
import { type Machine, machine } from '../../src/runtime.js';
import { noise, quantizedNoise } from '../noise.js';
import { BUILDS } from '../product.js';

const WEIGHTS: readonly (Tensor<Float32Array> | QuantizedTensor)[] = [
  tensor(noise(261 * 1033), [261, 1033]),
  tensor(noise(1003 * 300), [1003, 300]),
  quantizedNoise(GGML_SCHEMES.Q4_0, [1003, 1024]),
  quantizedNoise(GGML_SCHEMES.Q6_K, [1013, 768]),
  quantizedNoise(GGML_SCHEMES.Q8_0, [517, 1090]),
];

function product(runtime: Machine, activations: 'int8' | 'float', index: number, rows: number, resident: boolean) {
  const weight = WEIGHTS[index];
  const [outFeatures, inFeatures] = weight.shape;
  const { uploadLinear, linear, release } = linearLayers(runtime, activations);
  const uploaded = uploadLinear(weight, noise(outFeatures, 7));
  const array = (length: number) => (resident ? runtime.allocate(length) : new Float32Array(length));
  const x = array(rows * inFeatures + 3);
  // What lies behind the rows must not count.
  x.fill(Number.NaN).set(noise(rows * inFeatures, 3));
  const out = array(rows * outFeatures + 5).fill(99);
  expect(linear(uploaded, x, rows, out)).toBeUndefined();
  const results = out.slice();
  expect([...results.subarray(rows * outFeatures)]).toEqual([99, 99, 99, 99, 99]);
  release(uploaded);
  runtime.free(x);
  runtime.free(out);
  return results;
}

describe.each(BUILDS)('linear layers of the %s build', (build) => {
  const [one, two, three] = [1, 2, 3].map((threads) => machine({ build, threads, memoryBytes: 2 ** 26 }));
  afterAll(() => Promise.all([one, two, three].map((runtime) => runtime.dispose())));

  describe.each(['int8', 'float'] as const)('with %s activations', (activations) => {
    it.each([...WEIGHTS.keys()])('give the same bits with any number of threads and in place, weight %i', (index) => {
      for (const rows of [1, 2, 37, 245]) {
        const expected = product(one, activations, index, rows, false);
        expect(expected.every(Number.isFinite)).toBe(true);
        for (const runtime of [two, three, one]) {
          const actual = product(runtime, activations, index, rows, true);
          expect(actual.every((value, i) => value === expected[i])).toBe(true);
        }
      }
    });
  });

  it('write parts of arrays in place', () => {
    const { uploadLinear, linear } = linearLayers(two, 'int8');
    const uploaded = uploadLinear(WEIGHTS[2]);
    const x = two.allocate(4096);
    x.set(noise(4096));
    const out = two.allocate(3 * 1003 + 2);
    linear(uploaded, x.subarray(1024), 3, out.subarray(1));
    const expected = new Float32Array(3 * 1003);
    linear(uploaded, x.slice(1024), 3, expected);
    expect(out.slice(1, -1)).toEqual(expected);
    expect([out[0], out.at(-1)]).toEqual([0, 0]);
  });
});

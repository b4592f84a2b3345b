import { dequantize, type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import {
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxInitializer,
  packQdq,
  type QdqWeight,
  qdqForm,
} from '../../src/onnx.js';
import { expectFailure } from '../support/files.js';
import { affine } from './affine-weights.js';
import { identity, RUNTIMES, smallModel } from './runtimes.js';

/** `Y = A W^T` with the decoded weight. */
function modelOf({ form, codes, scales, zeroPoints }: QdqWeight) {
  const initializers: OnnxInitializer[] = [
    { name: 'codes', dtype: form.dtype, shape: form.shape, data: codes.bytes },
    { name: 'scales', dtype: 'f32', shape: form.scaleShape, data: scales.bytes },
  ];
  if (zeroPoints)
    initializers.push({ name: 'zeros', dtype: form.dtype, shape: form.scaleShape, data: zeroPoints.bytes });
  const node = (opType: string, inputs: string[], output: string, attributes: Record<string, number>) => ({
    name: output,
    opType,
    domain: '',
    inputs,
    outputs: [output],
    attributes: new Map(
      Object.entries(attributes).map(([name, value]): [string, OnnxAttribute] => [name, { type: 'int', value }]),
    ),
  });
  const groups: Record<string, number> = form.blockSize === 0 ? { axis: 0 } : { axis: 1, block_size: form.blockSize };
  const nodes = [
    node(
      'DequantizeLinear',
      initializers.map(({ name }) => name),
      'W',
      groups,
    ),
    node('Gemm', ['A', 'W'], 'Y', { transB: 1 }),
  ];
  return encodeOnnxModel(smallModel(nodes, { A: form.shape[1] }, { Y: form.shape[0] }), initializers);
}

describe.each(RUNTIMES)('$name', (runtime) => {
  it.each([
    { bits: 4, group: 32 },
    { bits: 4, group: 24 },
    { bits: 4, group: 0 },
    { bits: 3, group: 16 },
    { bits: 8, group: 16 },
    { bits: 8, group: 0 },
    { bits: 5, group: 4096 },
  ])('decodes what was packed: $bits bits, groups of $group', async (options) => {
    for (const zeros of [true, false]) {
      // 67 columns: rows of 4-bit codes start in the middle of a byte.
      const q = affine({ ...options, zeros, columns: 67 });
      const session = await runtime.open(modelOf(packQdq(q)));
      const { Y } = await session.run({ A: runtime.tensor('float32', identity(67), [67, 67]) });
      await session.release();
      const expected = dequantize(q);
      const product = Y?.data as Float32Array;
      let mismatches = 0;
      for (let i = 0; i < expected.length; i++) {
        if (product[(i % 67) * 5 + Math.floor(i / 67)] !== expected[i]) mismatches++;
      }
      expect(mismatches).toBe(0);
    }
  });
});

describe('packQdq', () => {
  it('lays 4-bit codes densely across rows', () => {
    const codes = tensor(Int8Array.of(1, 2, -8, 3, 4, -1), [2, 3]);
    const scheme: Scheme = {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits: 4, signed: true, symmetric: true },
      granularity: { type: 'tensor' },
    };
    const q: QuantizedTensor = {
      kind: 'quantized',
      shape: [2, 3],
      scheme,
      parts: { codes, scales: tensor(Float32Array.of(2), []) },
    };
    const packed = packQdq(q);
    expect([...packed.codes.bytes]).toEqual([0x21, 0x38, 0xf4]);
    expect(packed.form).toEqual({ dtype: 'i4', shape: [2, 3], blockSize: 0, scaleShape: [2], zeroPoints: false });
    expect(packed.scales.bytes).toEqual(new Uint8Array(Float32Array.of(2, 2).buffer));
  });

  it('refuses what it cannot hold, with the reason', async () => {
    const q = affine();
    const changed = (change: Partial<QuantizedTensor['parts']>) => () =>
      packQdq({ ...q, parts: { ...q.parts, ...change } });
    await expectFailure(changed({ groupIndex: new Uint32Array(70).fill(1) }), 'UNSUPPORTED', 'consecutive groups');
    await expectFailure(changed({ offsets: tensor(new Float32Array(15).fill(1), [5, 3]) }), 'UNSUPPORTED', 'offsets');
    await expectFailure(changed({ zeros: tensor(new Float32Array(15).fill(0.5), [5, 3]) }), 'UNSUPPORTED', 'zero 0.5');
    const float: Scheme = { ...q.scheme, grid: { type: 'float', exponent: 2, mantissa: 1, bias: 1 } };
    await expectFailure(() => qdqForm(float, q.shape), 'UNSUPPORTED', 'integers');
    await expectFailure(() => qdqForm(q.scheme, [70]), 'UNSUPPORTED', '[70]');
  });
});

import { dequantize, type QuantizedTensor, type Scheme, tensor } from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import {
  encodeOnnxModel,
  type MatMulNBitsWeight,
  matMulNBitsForm,
  type OnnxAttribute,
  type OnnxInitializer,
  packMatMulNBits,
  unpackMatMulNBits,
} from '../../src/onnx.js';
import { expectFailure } from '../support/files.js';
import { affine } from './affine-weights.js';
import { identity, RUNTIMES, smallModel } from './runtimes.js';

function nodeOf({ form, B, scales, zeroPoints }: MatMulNBitsWeight) {
  const attributes = { K: form.K, N: form.N, bits: form.bits, block_size: form.blockSize };
  const initializers: OnnxInitializer[] = [
    { name: 'B', dtype: 'u8', shape: B.shape, data: B.bytes },
    { name: 'scales', dtype: 'f32', shape: scales.shape, data: scales.bytes },
  ];
  if (zeroPoints) initializers.push({ name: 'zeros', dtype: 'u8', shape: zeroPoints.shape, data: zeroPoints.bytes });
  const node = {
    name: 'product',
    opType: 'MatMulNBits',
    domain: 'com.microsoft',
    inputs: ['A', ...initializers.map(({ name }) => name)],
    outputs: ['Y'],
    attributes: new Map(
      Object.entries(attributes).map(([name, value]): [string, OnnxAttribute] => [name, { type: 'int', value }]),
    ),
  };
  return encodeOnnxModel(smallModel([node], { A: form.K }, { Y: form.N }), initializers);
}

/** Bits of B one by one, from the operator's description. */
function codeAt({ form, B }: MatMulNBitsWeight, row: number, column: number): number {
  const { bits, blockSize, blocks } = form;
  const block = row * blocks + Math.floor(column / blockSize);
  const first = block * blockSize * bits + (column % blockSize) * bits;
  let code = 0;
  for (let bit = 0; bit < bits; bit++) {
    const at = first + bit;
    code += (((B.bytes[Math.floor(at / 8)] as number) >> (at % 8)) & 1) * 2 ** bit;
  }
  return code;
}

const SIZES = [16, 32, 128].flatMap((group) =>
  [2, 4, 8].flatMap((bits) => [true, false].map((zeros) => ({ group, bits, zeros }))),
);

describe.each(RUNTIMES)('$name', (runtime) => {
  it.each(SIZES)('multiplies by what was packed: $bits bits, blocks of $group, zeros $zeros', async (options) => {
    for (const columns of [131, 128]) {
      const q = affine({ ...options, columns });
      const session = await runtime.open(nodeOf(packMatMulNBits(q)));
      const { Y } = await session.run({ A: runtime.tensor('float32', identity(columns), [columns, columns]) });
      await session.release();
      const expected = dequantize(q);
      const product = Y?.data as Float32Array;
      let mismatches = 0;
      for (let row = 0; row < 5; row++) {
        for (let column = 0; column < columns; column++) {
          if (product[column * 5 + row] !== expected[row * columns + column]) mismatches++;
        }
      }
      expect(mismatches).toBe(0);
    }
  });
});

describe('packMatMulNBits', () => {
  it('lays codes low-first, block by block', () => {
    for (const bits of [2, 4, 8]) {
      const q = affine({ bits, columns: 37, group: 16 });
      const packed = packMatMulNBits(q);
      const codes = q.parts.codes as { data: Uint8Array };
      expect(packed.B.shape).toEqual([5, 3, 2 * bits]);
      for (let row = 0; row < 5; row++) {
        for (let column = 0; column < 37; column++) {
          expect(codeAt(packed, row, column)).toBe(codes.data[row * 37 + column]);
        }
      }
    }
  });

  it('starts the zero points of each row on a byte', () => {
    const q = affine({ rows: 2, columns: 48, group: 16 });
    const zeros = { data: Uint8Array.of(1, 2, 3, 4, 5, 6) };
    const { zeroPoints } = packMatMulNBits({ ...q, parts: { ...q.parts, zeros: tensor(zeros.data, [2, 3]) } });
    expect([...(zeroPoints?.bytes ?? [])]).toEqual([0x21, 0x03, 0x54, 0x06]);
  });

  it('gives back the same codes, scales and zeros', () => {
    for (const bits of [2, 4, 8]) {
      for (const zeros of [true, false]) {
        const q = affine({ bits, zeros, columns: 45, group: 16 });
        expect(unpackMatMulNBits(packMatMulNBits(q))).toMatchObject({
          shape: q.shape,
          scheme: q.scheme,
          parts: { codes: q.parts.codes, ...(zeros ? { zeros: q.parts.zeros } : {}) },
        });
      }
    }
  });

  it.each([
    { bits: 3, group: 32 },
    { bits: 1, group: 16 },
    { bits: 5, group: 96 },
    { bits: 7, group: 0 },
    { bits: 4, group: 0, columns: 9 },
    { bits: 4, group: 512, columns: 1030 },
    { bits: 4, group: 100, columns: 70 },
    { bits: 4, group: 4096, columns: 70 },
  ])('keeps the values where codes are widened and groups are split: %o', (options) => {
    for (const zeros of [true, false]) {
      const q = affine({ ...options, zeros });
      const back = unpackMatMulNBits(packMatMulNBits(q));
      expect(dequantize(back)).toEqual(dequantize(q));
    }
  });

  it('knows its form from the scheme alone', () => {
    const { scheme } = affine({ bits: 3, group: 96, zeros: false });
    expect(matMulNBitsForm(scheme, [7, 200])).toEqual({
      N: 7,
      K: 200,
      bits: 4,
      blockSize: 32,
      blocks: 7,
      zeroPoints: true,
    });
    expect(packMatMulNBits(affine({ bits: 3, group: 96, zeros: false, rows: 7, columns: 200 })).form).toMatchObject({
      blocks: 7,
      zeroPoints: true,
    });
  });

  it('refuses what the operator cannot hold, with the reason', async () => {
    const q = affine();
    const refused = (change: Partial<QuantizedTensor['parts']>) => () =>
      packMatMulNBits({ ...q, parts: { ...q.parts, ...change } });
    await expectFailure(() => packMatMulNBits(affine({ group: 24 })), 'UNSUPPORTED', 'groups of 24');
    await expectFailure(refused({ groupIndex: new Uint32Array(70).fill(1) }), 'UNSUPPORTED', 'consecutive groups');
    await expectFailure(refused({ offsets: tensor(new Float32Array(15).fill(1), [5, 3]) }), 'UNSUPPORTED', 'offsets');
    await expectFailure(refused({ zeros: tensor(new Float32Array(15).fill(0.5), [5, 3]) }), 'UNSUPPORTED', 'zero 0.5');
    await expectFailure(refused({ channelScale: new Float32Array(70) }), 'UNSUPPORTED', 'channelScale');
    await expectFailure(() => packMatMulNBits(q, { scaleDtype: 'f16' }), 'UNSUPPORTED', 'scales', 'f16');
    const nf4: Scheme = { ...q.scheme, grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } };
    await expectFailure(() => matMulNBitsForm(nf4, q.shape), 'UNSUPPORTED', 'integers');
    await expectFailure(() => matMulNBitsForm(q.scheme, [3, 4, 5]), 'UNSUPPORTED', '[3,4,5]');
  });

  it('refuses parts that do not fit the form', async () => {
    const packed = packMatMulNBits(affine());
    const short = { ...packed.B, bytes: packed.B.bytes.subarray(1) };
    await expectFailure(() => unpackMatMulNBits({ ...packed, B: short }), 'SHAPE', 'B has');
  });
});

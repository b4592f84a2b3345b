import {
  DTYPES,
  type DType,
  decode,
  encode,
  isDType,
  nativeData,
  type PackedTensor,
  packed,
  packedByteLength,
} from '@halftone/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const integers = (Object.keys(DTYPES) as DType[]).filter((dtype) => /^[iu]/.test(dtype) && DTYPES[dtype].bits <= 32);

describe('integers', () => {
  it.each(integers)('%s: round half to even, then clamp', (dtype) => {
    const { bits, kind } = DTYPES[dtype];
    const lowest = kind === 'int' ? -(2 ** (bits - 1)) : 0;
    const highest = lowest + 2 ** bits - 1;
    const number = fc.oneof(
      fc.double({ noNaN: true }),
      fc.double({ noNaN: true, min: lowest - 2, max: highest + 2 }),
      fc.integer({ min: Math.max(lowest, -(2 ** 31)), max: Math.min(highest, 2 ** 31 - 1) }).map((n) => n + 0.5),
    );
    fc.assert(
      fc.property(fc.array(number), (values) => {
        const expected = values.map((value) => {
          const clamped = Math.min(Math.max(value, lowest), highest);
          const floor = Math.floor(clamped);
          const half = clamped - floor === 0.5;
          const nearest = half ? (floor % 2 === 0 ? floor : floor + 1) : Math.round(clamped);
          return Math.fround(nearest) + 0;
        });
        expect([...decode(encode(values, dtype))].map((value) => value + 0)).toEqual(expected);
      }),
    );
    expect(() => encode([0, Number.NaN], dtype)).toThrow(/element 1 is NaN, which/);
  });

  it('of 64 bits are exact as bigints, rounded as floats', () => {
    const signed = encode([2 ** 53 + 2, -(2 ** 63), 2 ** 63, Infinity, -Infinity, 2.5, -2.5, 2 ** 51 + 0.5], 'i64');
    const top = 2n ** 63n - 1n;
    expect([...nativeData(signed)]).toEqual([2n ** 53n + 2n, -top - 1n, top, top, -top - 1n, 2n, -2n, 2n ** 51n]);
    expect(decode(signed)[2]).toBe(2 ** 63);
    const unsigned = encode([2n ** 64n - 1n, 2n ** 64n, -1n, 9007199254740993n], 'u64');
    expect([...nativeData(unsigned)]).toEqual([2n ** 64n - 1n, 2n ** 64n - 1n, 0n, 9007199254740993n]);
    expect(() => encode([Number.NaN], 'i64')).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
  });
});

describe('wide floats and bool', () => {
  it('keep bits', () => {
    const values = [0, -0, 1.1, 1e-310, Infinity, Number.NaN, 1e300];
    expect([...nativeData(encode(values, 'f64'))]).toEqual(values);
    expect([...decode(encode(values, 'f32'))]).toEqual(values.map(Math.fround));
    expect([...decode(encode(values, 'f64'))]).toEqual(values.map(Math.fround));
    expect([...decode(encode([0, -0, 0.5, -3], 'bool'))]).toEqual([0, 0, 1, 1]);
    expect(() => encode([Number.NaN], 'bool')).toThrow(expect.objectContaining({ code: 'NUMERIC' }));
  });
});

describe.each(Object.keys(DTYPES) as DType[])('%s', (dtype) => {
  const values = [0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 0];

  it('reads bytes at any address, from shapes of any rank', () => {
    for (const shape of [[15], [3, 5], [5, 3], [1, 3, 5], [15, 1]]) {
      const whole = encode(values, dtype, shape);
      expect(whole.bytes).toHaveLength(packedByteLength(dtype, shape));
      const expected = decode(whole);
      for (let shift = 0; shift < 9; shift++) {
        const memory = new Uint8Array(whole.bytes.length + 9);
        memory.set(whole.bytes, shift);
        const moved = packed(dtype, shape, memory.subarray(shift, shift + whole.bytes.length));
        expect(decode(moved)).toEqual(expected);
      }
    }
    expect(decode(encode([1], dtype, []))).toHaveLength(1);
    expect(decode(encode([], dtype, [4, 0]))).toHaveLength(0);
    expect(decode(encode([], dtype, [0, 4]))).toHaveLength(0);
  });

  it('decodes into given memory only when it fits', () => {
    const tensor = encode(values, dtype);
    const memory = new Float32Array(17).fill(7);
    const out = memory.subarray(1, 16);
    expect(decode(tensor, out)).toBe(out);
    expect([memory[0], memory[16]]).toEqual([7, 7]);
    expect(() => decode(tensor, memory)).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    const short: PackedTensor<DType> = { ...tensor, bytes: tensor.bytes.subarray(1) };
    expect(() => decode(short)).toThrow(expect.objectContaining({ code: 'SHAPE' }));
  });
});

describe('refusals', () => {
  it('name unknown types, ggml types and wrong sizes', () => {
    const ggml = {
      kind: 'packed',
      dtype: 'Q8_0',
      shape: [32],
      bytes: new Uint8Array(34),
    } as unknown as PackedTensor<DType>;
    expect(() => decode(ggml)).toThrow(/Q8_0 is no element type; try @halftone.formats/);
    expect(() => encode([1], 'toString' as DType)).toThrow(expect.objectContaining({ code: 'DTYPE' }));
    expect(() => encode([1, 2], 'f16', [3])).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    expect(() => packedByteLength('Q4_K', [2, 100])).toThrow(/not whole Q4_K blocks of 256/);
    expect(packedByteLength('Q4_K', [2, 512])).toBe(576);
    expect(() => packedByteLength('f32', [2 ** 30, 2 ** 30])).toThrow(/2\^50/);
    expect(() => packedByteLength('f32', [-1])).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    expect(() => packedByteLength('f32', [1.5])).toThrow(expect.objectContaining({ code: 'SHAPE' }));
    expect(() => nativeData(encode([1], 'f16') as never)).toThrow(expect.objectContaining({ code: 'DTYPE' }));
    expect(isDType('constructor')).toBe(false);
  });
});

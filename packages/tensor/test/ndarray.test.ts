import {
  contiguousData,
  dequantize,
  encode,
  isContiguous,
  type NativeArray,
  type QuantizedTensor,
  type Tensor,
  tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { fromNdarray, toNdarray } from '@halftone/tensor/ndarray';
import { validateQuantized } from '@halftone/tensor/validate';
import fc from 'fast-check';
import ndarray from 'ndarray';
import { describe, expect, it } from 'vitest';

type Any = ndarray.NdArray<Float32Array<ArrayBuffer>>;

/** Elements by ndarray's own indexing, row-major. */
function elements(view: Any): number[] {
  const values: number[] = [];
  const visit = (index: number[]): void => {
    if (index.length === view.shape.length) values.push(view.get(...index));
    else for (let i = 0; i < view.shape[index.length]!; i++) visit([...index, i]);
  };
  visit([]);
  return values;
}

const base = (): Any =>
  ndarray(
    Float32Array.from({ length: 120 }, (_, i) => i),
    [4, 5, 6],
  );

const views: Record<string, () => Any> = {
  'as it is': base,
  transpose: () => base().transpose(2, 0, 1),
  lo: () => base().lo(1, 2, 3),
  hi: () => base().hi(3, 2, 4),
  step: () => base().step(2, 1, 3),
  'step backwards': () => base().step(-1, 2, -2),
  pick: () => base().pick(null, 2, null),
  'pick the last axis': () => base().pick(null, null, 1),
  'pick a scalar': () => base().pick(1, 2, 3),
  'all of them': () => base().transpose(1, 2, 0).lo(1, 0, 1).hi(3, 5, 2).step(1, -2, 1).pick(null, null, 1),
  empty: () => base().hi(0, 5, 6),
};

describe.each(Object.entries(views))('%s', (_, make) => {
  it('goes through every function that takes a tensor', () => {
    const view = make();
    const expected = elements(view);
    expect([...contiguousData(view)]).toEqual(expected);
    expect([...toFloat32(view)]).toEqual(expected);
    expect([...toFloat32(view, new Float32Array(expected.length))]).toEqual(expected);
    expect(isContiguous(view)).toBe(contiguousData(view).buffer === view.data.buffer || expected.length < 2);
    expect([...contiguousData(fromNdarray(view))]).toEqual(expected);
    expect(elements(toNdarray(fromNdarray(view)) as Any)).toEqual(expected);
    expect([...toFloat32(encode(contiguousData(view), 'f32', view.shape))]).toEqual(expected);
    const bytes = ndarray(Uint8Array.from(view.data), [...view.shape], [...view.stride], view.offset);
    expect([...unpackCodes(bytes)]).toEqual(expected);
  });

  it('serves as codes, scales, zeros and offsets of a quantized tensor', () => {
    const view = make();
    const { shape } = view;
    const codes = ndarray(Uint8Array.from(view.data), [...shape], [...view.stride], view.offset);
    const q: QuantizedTensor = {
      kind: 'quantized',
      shape,
      scheme: {
        name: 'test',
        version: 1,
        grid: { type: 'affine', bits: 8, signed: false, symmetric: false },
        granularity: shape.length === 0 ? { type: 'tensor' } : { type: 'group', axis: 0, size: 1 },
      },
      parts: { codes, scales: view, zeros: view, offsets: view },
    };
    validateQuantized(q);
    // scale * (code - zero) + offset, all of them the same number.
    expect([...dequantize(q)]).toEqual(elements(view));
  });
});

describe('interop', () => {
  it('shares memory both ways', () => {
    const data = new Float32Array(6);
    const view = toNdarray(tensor(data, [2, 3])) as Any;
    view.transpose(1, 0).set(2, 1, 7);
    expect(data[5]).toBe(7);
    expect(fromNdarray(view).data).toBe(data);
  });

  it('refuses data that is not a typed array', () => {
    for (const data of [[1, 2, 3], new DataView(new ArrayBuffer(8))]) {
      const view = { data, shape: [3], stride: [1], offset: 0 };
      expect(() => fromNdarray(view)).toThrow(expect.objectContaining({ code: 'DTYPE' }));
    }
  });

  it('reads Node buffers without their deprecated constructor', () => {
    const view: Tensor = { data: Buffer.from([1, 2, 3, 4]), shape: [2], stride: [2], offset: 1 };
    expect(contiguousData(view)).toEqual(Uint8Array.of(2, 4));
  });

  it('refuses views that reach outside their data', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ n: fc.integer({ min: 1, max: 4 }), stride: fc.integer({ min: -5, max: 5 }) }), {
          maxLength: 3,
        }),
        fc.integer({ min: 0, max: 12 }),
        (axes, offset) => {
          const view: Tensor<NativeArray> = {
            data: Float32Array.from({ length: 12 }, (_, i) => i),
            shape: axes.map(({ n }) => n),
            stride: axes.map(({ stride }) => stride),
            offset,
          };
          const reached = axes.reduce(
            (indices, { n, stride }) => indices.flatMap((at) => Array.from({ length: n }, (_, i) => at + i * stride)),
            [offset],
          );
          if (reached.every((at) => at >= 0 && at < 12)) expect([...toFloat32(view)]).toEqual(reached);
          else expect(() => contiguousData(view)).toThrow(expect.objectContaining({ code: 'SHAPE' }));
        },
      ),
    );
  });
});

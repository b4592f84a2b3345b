import { dequantize, encode, type GgmlType, isHalftoneError, type QuantizedTensor, tensor } from '@halftone/tensor';
import { NF4_VALUES } from '@halftone/tensor/codebooks';
import { describe, expect, it } from 'vitest';
import { decodeGgml, repackAsGgml } from '../src/index.js';
import { affineWeight } from '../src/layouts/internal/affine-weight.js';
import { numbers } from './support/sample-weights.js';

const [ROWS, COLUMNS] = [3, 96];
type Parts = Partial<QuantizedTensor['parts']>;

/** Unsigned codes with one scale for each group. Scales have 8 bits, so float16 holds them and their products with codes. */
function weight(bits: number, parts: Parts = {}, groupSize = 32, columns = COLUMNS): QuantizedTensor {
  const random = numbers(bits);
  const codes = Uint8Array.from({ length: ROWS * columns }, () => random(2 ** bits));
  return {
    kind: 'quantized',
    shape: [ROWS, columns],
    scheme: {
      name: 'affine',
      version: 1,
      grid: { type: 'affine', bits, signed: false, symmetric: false },
      granularity: { type: 'group', axis: 1, size: groupSize },
    },
    parts: { codes: tensor(codes, [ROWS, columns]), scales: groups(scale, groupSize, columns), ...parts },
  };
}

function groups(value: (group: number) => number, groupSize = 32, columns = COLUMNS) {
  const count = Math.ceil(columns / groupSize);
  return tensor(
    Float32Array.from({ length: ROWS * count }, (_, i) => value(i)),
    [ROWS, count],
  );
}

/** Both signs. */
const scale = (group: number): number => ((group % 2 === 0 ? 1 : -1) * (129 + 10 * group)) / 2 ** 12;

/** The type that holds the weight; its values are compared with the decoder's. */
function typeOf(q: QuantizedTensor): GgmlType {
  const blocks = repackAsGgml(q);
  expect(blocks.shape).toEqual(q.shape);
  expect(decodeGgml(blocks).map((value) => value + 0)).toEqual(dequantize(q).map((value) => value + 0));
  return blocks.dtype;
}

function refusal(q: QuantizedTensor): string {
  try {
    return repackAsGgml(q).dtype;
  } catch (error) {
    if (isHalftoneError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe('repackAsGgml', () => {
  it.each([
    [2, 'Q4_0'],
    [3, 'Q4_0'],
    [4, 'Q4_0'],
    [5, 'Q5_0'],
    [6, 'Q8_0'],
    [8, 'Q8_0'],
  ])('finds symmetric weights of %i bits by their zeros and by their offsets: %s', (bits, type) => {
    const half = 2 ** (bits - 1);
    expect(typeOf(weight(bits, { zeros: groups(() => half) }))).toBe(type);
    expect(typeOf(weight(bits, { offsets: groups((group) => -half * scale(group)) }))).toBe(type);
    const both = { zeros: groups(() => 1), offsets: groups((group) => -(half - 1) * scale(group)) };
    expect(typeOf(weight(bits, both))).toBe(type);
  });

  it('takes groups without values for symmetric ones', () => {
    const parts = {
      scales: groups((group) => (group === 4 ? 0 : scale(group))),
      offsets: groups((group) => (group === 4 ? 0 : -8 * scale(group))),
    };
    expect(typeOf(weight(4, parts))).toBe('Q4_0');
  });

  it('keeps other zeros and offsets as minima', () => {
    expect(typeOf(weight(4, { zeros: groups((group) => group) }))).toBe('Q4_1');
    expect(typeOf(weight(5, { zeros: groups((group) => group) }))).toBe('Q5_1');
    expect(typeOf(weight(4, { offsets: groups((group) => group / 64) }))).toBe('Q4_1');
    const nearly = (group: number) => -8 * scale(group) * (group === 5 ? 1 + 2 ** -10 : 1);
    expect(typeOf(weight(3, { offsets: encode(groups(nearly).data, 'f16', [ROWS, 3]) }))).toBe('Q4_1');
  });

  it('repeats the scale of a wider group in its blocks', () => {
    expect(typeOf(weight(4, { zeros: groups(() => 8, 96) }, 96))).toBe('Q4_0');
    expect(typeOf(weight(4, { zeros: groups(() => 8, 64) }, 64))).toBe('Q4_0');
  });

  it('says why a weight is refused', () => {
    const groupIndex = Uint32Array.from({ length: COLUMNS }, (_, column) => column % 3);
    expect(refusal(weight(4, { groupIndex }))).toMatch(/^UNSUPPORTED .*act-order/);
    expect(refusal(weight(4, {}, 16))).toMatch(/^UNSUPPORTED .*groups of 16/);
    expect(refusal(weight(4, {}, 32, 40))).toMatch(/^UNSUPPORTED .*rows of 40 columns/);
    expect(refusal(weight(8, { zeros: groups((group) => group) }))).toMatch(
      /^UNSUPPORTED .*8-bit integers with offsets/,
    );
    const zeros = groups(() => 8);
    expect(refusal(weight(4, { zeros, scales: groups(() => 0.1) }))).toMatch(/^UNSUPPORTED .*scales: 0\.1/);
    expect(refusal(weight(4, { zeros, scales: groups(() => 1e6) }))).toMatch(/^UNSUPPORTED .*scales: 1000000/);
    const { scheme, shape } = weight(4);
    const table: QuantizedTensor = {
      kind: 'quantized',
      shape,
      scheme: { ...scheme, grid: { type: 'lookup', bits: 4, vectorLength: 1, stages: 1 } },
      parts: { ...weight(4).parts, codebook: tensor(Float32Array.from(NF4_VALUES), [16, 1]) },
    };
    expect(refusal(table)).toMatch(/^UNSUPPORTED /);
  });
});

describe('offsets as zeros', () => {
  const zerosOf = (q: QuantizedTensor) => {
    const { zeros, offsets } = affineWeight(q, 'test');
    return offsets === undefined ? [...zeros] : undefined;
  };
  const one = (bits: number, scale: number, offset: number) =>
    weight(bits, { scales: groups(() => scale), offsets: groups(() => offset) });

  it('are found where they are whole and in the range of the codes', () => {
    expect(zerosOf(one(4, 0.5, -7.5))).toEqual(new Array(9).fill(15));
    expect(zerosOf(one(4, -0.5, 1.5))).toEqual(new Array(9).fill(3));
    expect(zerosOf(one(4, 0.5, -8))).toBeUndefined();
    expect(zerosOf(one(4, 0.5, 0.5))).toBeUndefined();
    expect(zerosOf(one(4, 0.5, -0.75))).toBeUndefined();
    expect(zerosOf(one(4, 0, 1))).toBeUndefined();
  });

  it('stay where float32 rounds, overflows or has no number', () => {
    const third = Math.fround(1 / 3);
    expect(zerosOf(one(4, third, Math.fround(-8 * third)))).toBeUndefined();
    expect(zerosOf(one(4, 2 ** 124, -8 * 2 ** 124))).toBeUndefined();
    expect(zerosOf(one(4, 2 ** -149, -8 * 2 ** -149))).toEqual(new Array(9).fill(8));
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(zerosOf(one(4, odd, -8))).toBeUndefined();
      expect(zerosOf(one(4, 1, odd))).toBeUndefined();
    }
  });

  it('change no value but the sign of zeros', () => {
    for (const bits of [2, 3, 4, 5, 6, 8]) {
      const offset = (group: number) => -(group % 2 ** bits) * scale(group);
      const q = weight(bits, { offsets: groups(offset) });
      const { codes, scales, zeros, offsets } = affineWeight(q, 'test');
      expect(offsets).toBeUndefined();
      const values = Float32Array.from(codes, (code, i) => {
        const group = Math.floor(i / 32);
        return Math.fround(code - (zeros[group] as number)) * (scales[group] as number) + 0;
      });
      expect(values).toEqual(dequantize(q).map((value) => value + 0));
    }
  });
});

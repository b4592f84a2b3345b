import {
  decode,
  dequantize,
  type ParameterTensor,
  type QuantizedTensor,
  tensor,
  toFloat32,
  unpackCodes,
} from '@halftone/tensor';
import { describe, expect, it } from 'vitest';
import { ORACLE_FORMATS, oracleDecode } from './oracle/float-oracle.js';
import { SAMPLES } from './quantized-samples.js';

/** The parameter of one element, found by the definition of the granularity. */
function parameter(q: QuantizedTensor, part: ParameterTensor | undefined, index: number[], absent: number): number {
  if (part === undefined) return absent;
  const values =
    part.kind === 'quantized'
      ? slowDequantize(part)
      : part.kind === 'packed'
        ? decode(part as never)
        : Array.from(part.data as Float32Array);
  const { granularity } = q.scheme;
  if (granularity.type === 'tensor') return values[0]!;
  if (granularity.type === 'axis') return values[index[granularity.axis]!]!;
  const size = (axis: number) =>
    granularity.type === 'group'
      ? axis === granularity.axis
        ? granularity.size
        : 1
      : axis === 0
        ? granularity.rows
        : granularity.columns;
  let at = 0;
  index.forEach((i, axis) => {
    const group = axis === index.length - 1 && q.parts.groupIndex ? q.parts.groupIndex[i]! : Math.floor(i / size(axis));
    at = at * Math.ceil(q.shape[axis]! / size(axis)) + group;
  });
  return values[at]!;
}

/** Decodes element by element from the formulas in the documentation. */
function slowDequantize(q: QuantizedTensor): number[] {
  const { fround } = Math;
  const { grid } = q.scheme;
  const { parts, shape } = q;
  const codes = unpackCodes(parts.codes);
  const columns = shape[shape.length - 1]!;
  const count = shape.reduce((a, b) => a * b, 1);
  const out = new Array<number>(count).fill(0);
  for (let i = 0; i < count; i++) {
    const index: number[] = [];
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      index.unshift(rest % shape[axis]!);
      rest = Math.floor(rest / shape[axis]!);
    }
    const column = index[index.length - 1]!;
    let value: number;
    if (grid.type === 'affine') value = fround(codes[i]! - parameter(q, parts.zeros, index, 0));
    else if (grid.type === 'float') {
      const format = Object.values(ORACLE_FORMATS).find(
        (known) => known.exponent === grid.exponent && known.mantissa === grid.mantissa && known.bias === grid.bias,
      )!;
      value = oracleDecode(codes[i]!, format);
    } else {
      const { vectorLength, stages } = grid;
      const book = parts.codebook!.data;
      const entries = book.length / vectorLength / stages;
      const vector = Math.floor(i / vectorLength);
      value = 0;
      for (let stage = 0; stage < stages; stage++) {
        const code = codes[(stage * count) / vectorLength + vector]!;
        value = fround(value + book[(stage * entries + code) * vectorLength + (i % vectorLength)]!);
      }
    }
    const scale = fround(parameter(q, parts.scales, index, 1) * (parts.globalScale ?? 1));
    value = fround(value * scale);
    if (parts.offsets) value = fround(value + parameter(q, parts.offsets, index, 0));
    const logical = parts.permutation ? parts.permutation[column]! : column;
    out[i - column + logical] = value;
  }
  for (let i = 0; i < count; i++) {
    const row = Math.floor(i / columns);
    const column = i % columns;
    const { channelScale, outliers, lowRank } = parts;
    if (channelScale) out[i] = fround(out[i]! * channelScale[column]!);
    if (outliers) {
      for (let k = outliers.rowPointers[row]!; k < outliers.rowPointers[row + 1]!; k++) {
        if (outliers.columns[k] === column) out[i] = fround(out[i]! + outliers.values[k]!);
      }
    }
    if (lowRank) {
      const rank = lowRank.right.shape[0]!;
      let total = 0;
      for (let r = 0; r < rank; r++)
        total += lowRank.left.data[row * rank + r]! * lowRank.right.data[r * columns + column]!;
      out[i] = fround(out[i]! + fround(total));
    }
  }
  return out;
}

describe('dequantize', () => {
  it.each(Object.entries(SAMPLES))('%s: agrees with the formulas, element by element', (_, q) => {
    expect([...dequantize(q)]).toEqual(slowDequantize(q));
    const out = new Float32Array(dequantize(q).length).fill(9);
    expect(toFloat32(q, out)).toBe(out);
    expect([...out]).toEqual(slowDequantize(q));
  });

  it.each(['Q4_K', 'Q6_K'])('%s: rounds nested scales to float32 first', (name) => {
    const { fround } = Math;
    const q = SAMPLES[name]!;
    const codes = unpackCodes(q.parts.codes);
    const of = (part: QuantizedTensor, row: number, group: number): number =>
      fround(decode(part.parts.scales as never)[row]! * unpackCodes(part.parts.codes)[row * part.shape[1]! + group]!);
    const size = name === 'Q4_K' ? 32 : 16;
    const values = dequantize(q);
    for (let i = 0; i < values.length; i++) {
      const row = Math.floor(i / 256);
      const group = Math.floor((i % 256) / size);
      const product = fround(of(q.parts.scales as QuantizedTensor, row, group) * codes[i]!);
      const expected = q.parts.offsets ? fround(product + of(q.parts.offsets as QuantizedTensor, row, group)) : product;
      expect(values[i]).toBe(expected);
    }
  });

  it('keeps the sign of zero where nothing is added', () => {
    const q: QuantizedTensor = {
      kind: 'quantized',
      shape: [2],
      scheme: {
        name: 'test',
        version: 1,
        grid: { type: 'affine', bits: 4, signed: true, symmetric: true },
        granularity: { type: 'tensor' },
      },
      parts: { codes: tensor(Int8Array.of(0, 1)), scales: tensor(Float32Array.of(-2), []) },
    };
    expect([...dequantize(q)]).toEqual([-0, -2]);
  });

  it('refuses too few parts and codes beyond the codebook', () => {
    const shape = expect.objectContaining({ code: 'SHAPE' });
    const base = SAMPLES.columns!;
    expect(() => dequantize({ ...base, parts: { ...base.parts, scales: tensor(new Float32Array(9)) } })).toThrow(shape);
    expect(() => dequantize({ ...base, shape: [6, 12] })).toThrow(shape);
    expect(() => dequantize(base, new Float32Array(3))).toThrow(shape);
    const book = SAMPLES['scalar codebook']!;
    expect(() =>
      dequantize({ ...book, parts: { ...book.parts, codebook: tensor(new Float32Array(4), [4, 1]) } }),
    ).toThrow(expect.objectContaining({ code: 'RANGE' }));
  });
});

describe('toFloat32', () => {
  it('converts every kind of number', () => {
    expect([...toFloat32(tensor(BigInt64Array.of(-3n, 2n ** 60n)))]).toEqual([-3, 2 ** 60]);
    expect([...toFloat32(tensor(Uint16Array.of(65535)))]).toEqual([65535]);
    expect([...toFloat32(tensor(Float64Array.of(0.1)))]).toEqual([Math.fround(0.1)]);
    expect(toFloat32(tensor(new BigUint64Array(0)))).toHaveLength(0);
    const data = Float32Array.of(1, 2);
    expect(toFloat32(tensor(data)).buffer).toBe(data.buffer);
    expect(toFloat32(tensor(data), new Float32Array(2))).toEqual(data);
  });
});

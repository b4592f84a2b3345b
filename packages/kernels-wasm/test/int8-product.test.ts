import {
  dequantize,
  type Granularity,
  isHalftoneError,
  type QuantizedTensor,
  type Scheme,
  tensor,
} from '@halftone/tensor';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { int8Product, plainInt8Product, plainQuantizeRows, wasmRuntime } from '../src/index.js';
import { noise, quantizedNoise } from './noise.js';
import { BUILDS, largestError, plainProduct } from './product.js';

function scheme(bits: number, granularity: Granularity, signed = true): Scheme {
  return { name: 'affine', version: 1, grid: { type: 'affine', bits, signed, symmetric: true }, granularity };
}

/** Group scales that are whole numbers with a factor for each row. */
function twoLevels(q: QuantizedTensor, groups: number, largest = 15): QuantizedTensor {
  const rows = q.shape[0];
  const scales: QuantizedTensor = {
    kind: 'quantized',
    shape: [rows, groups],
    scheme: scheme(8, { type: 'axis', axis: 0 }, false),
    parts: {
      codes: tensor(
        Uint8Array.from(noise(rows * groups, 5), (value) => Math.round((value + 0.5) * largest)),
        [rows, groups],
      ),
      scales: tensor(noise(rows, 6)),
    },
  };
  return { ...q, parts: { ...q.parts, scales } };
}

function integers(length: number, seed: number): Int8Array {
  return Int8Array.from(noise(length, seed), (value) => Math.floor(value * 256));
}

function code(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return isHalftoneError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
}

const KINDS = ['w8 rows', 'w8 tensor', 'w4 rows', 'w4 groups', 'w4 two levels', 'w3 rows'] as const;

function weightOf(
  kind: (typeof KINDS)[number],
  outs: number,
  ins: number,
  size: number,
  seed: number,
): QuantizedTensor {
  const axis: Granularity = { type: 'axis', axis: 0 };
  const group: Granularity = { type: 'group', axis: 1, size };
  const shape = [outs, ins] as const;
  if (kind === 'w8 rows') return quantizedNoise(scheme(8, axis), shape, { seed });
  if (kind === 'w8 tensor') return quantizedNoise(scheme(8, { type: 'tensor' }), shape, { seed });
  if (kind === 'w4 rows') return quantizedNoise(scheme(4, axis), shape, { seed });
  if (kind === 'w3 rows') return quantizedNoise(scheme(3, axis), shape, { seed });
  const grouped = quantizedNoise(scheme(4, group), shape, { seed });
  return kind === 'w4 groups' ? grouped : twoLevels(grouped, Math.ceil(ins / size));
}

describe.each(BUILDS)('int8Product in the %s build', (build) => {
  const runtimes = [1, 2, 3].map((threads) => wasmRuntime({ build, threads, memoryBytes: 2 ** 26 }));
  const products = runtimes.map((runtime) => int8Product(runtime));
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  function both(q: QuantizedTensor, codes: Int8Array, scales: Float32Array, rows: number, bias?: Float32Array) {
    const [product] = products;
    const uploaded = product.upload(q, bias);
    const count = rows * q.shape[0];
    const out = new Float32Array(count + 3).fill(99);
    expect(product.multiply(uploaded, codes, scales, rows, out)).toBeUndefined();
    product.release(uploaded);
    expect([...out.subarray(count)]).toEqual([99, 99, 99]);
    const expected = new Float32Array(count);
    plainInt8Product(q, bias, codes, scales, rows, expected);
    return [out.subarray(0, count), expected];
  }

  it.each(KINDS)('has the bits of the plain product: %s', (kind) => {
    const size = fc.integer({ min: 1, max: 23 });
    const depth = fc.integer({ min: 1, max: 300 });
    const group = fc.constantFrom(32, 64, 96, 128);
    fc.assert(
      fc.property(size, depth, size, group, fc.nat(1e6), (outs, ins, rows, groupSize, seed) => {
        const q = weightOf(kind, outs, ins, groupSize, seed);
        const bias = seed % 2 === 0 ? noise(outs, seed + 3) : undefined;
        const [actual, expected] = both(q, integers(rows * ins, seed + 1), noise(rows, seed + 2), rows, bias);
        expect(actual).toEqual(expected);
      }),
    );
  });

  it.each(KINDS)('stays exact with the largest codes and a great depth: %s', (kind) => {
    const ins = 16384;
    for (const [w, x] of [
      [-128, -128],
      [-128, 127],
      [127, -128],
      [127, 127],
    ]) {
      const q = weightOf(kind, 9, ins, 4096, 1);
      const bits = q.scheme.grid.type === 'affine' ? q.scheme.grid.bits : 8;
      const extreme = tensor(new Int8Array(9 * ins).fill(w >> (8 - bits)), [9, ins]);
      for (const rows of [1, 5]) {
        const weight = { ...q, parts: { ...q.parts, codes: extreme } };
        const [actual, expected] = both(
          weight,
          new Int8Array(rows * ins).fill(x),
          new Float32Array(rows).fill(1),
          rows,
        );
        expect(actual).toEqual(expected);
      }
    }
  });

  it('takes as many input features as sums have room for', () => {
    const deepest = 131071;
    const make = (ins: number) => quantizedNoise(scheme(8, { type: 'tensor' }), [1, ins]);
    const q = make(deepest);
    const full = { ...q, parts: { ...q.parts, codes: tensor(new Int8Array(deepest).fill(-128), [1, deepest]) } };
    const [actual, expected] = both(full, new Int8Array(deepest).fill(-128), Float32Array.of(1), 1);
    expect(actual).toEqual(expected);
    expect(code(() => products[0].upload(make(deepest + 1)))).toBe('RANGE');
  });

  it('uses floats for whole group scales whose sums would not fit', () => {
    const q = twoLevels(quantizedNoise(scheme(4, { type: 'group', axis: 1, size: 8192 }), [2, 16384]), 2, 255);
    const [actual, expected] = both(q, new Int8Array(16384).fill(-128), Float32Array.of(1), 1);
    expect(actual).toEqual(expected);
  });

  it('multiplies what the reference decodes', () => {
    for (const kind of KINDS) {
      const q = weightOf(kind, 13, 200, 64, 3);
      const codes = integers(4 * 200, 1);
      const [actual] = both(q, codes, new Float32Array(4).fill(0.5), 4);
      const x = Float32Array.from(codes, (value) => value / 2);
      expect(largestError(actual, plainProduct(dequantize(q), q.shape, x, 4))).toBeLessThan(1e-6);
    }
  });

  it.each(KINDS)('has the same bits with any number of threads and in place: %s', (kind) => {
    const q = weightOf(kind, 67, 2080, 128, 2);
    // More rows than are packed together.
    for (const rows of [1, 261]) {
      const codes = integers(rows * 2080, 1);
      const scales = noise(rows, 2);
      const expected = new Float32Array(rows * 67);
      plainInt8Product(q, undefined, codes, scales, rows, expected);
      for (const [which, runtime] of runtimes.entries()) {
        const product = products[which];
        const uploaded = product.upload(q);
        const bytes = runtime.allocate((rows * 2080) / 4);
        const resident = new Int8Array(bytes.buffer, bytes.byteOffset, rows * 2080);
        resident.set(codes);
        const homes = [
          [codes, new Float32Array(rows * 67)],
          [resident, runtime.allocate(rows * 67)],
        ] as const;
        for (const [x, out] of homes) {
          product.multiply(uploaded, x, scales, rows, out);
          expect(out.every((value, i) => value === expected[i])).toBe(true);
          runtime.free(out);
        }
        product.release(uploaded);
        runtime.free(bytes);
      }
    }
  });

  it('quantizes rows as the plain code does', () => {
    const value = fc.oneof(
      fc.float({ noNaN: true }),
      fc.float({ min: -2, max: 2, noNaN: true }),
      fc.constantFrom(0, -0, 2 ** -149, -(2 ** -126), 3e38, 0.5, 1.5),
    );
    const features = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(
        features,
        fc.infiniteStream(value),
        fc.option(fc.constantFrom(0.01, 1, 1e-30)),
        (n, stream, scale) => {
          const x = Float32Array.from({ length: 3 * n }, () => stream.next().value as number);
          const options = scale === null ? {} : { scale };
          expect(products[0].quantizeRows(x, 3, n, options)).toEqual(plainQuantizeRows(x, 3, n, options.scale));
        },
      ),
    );
  });

  it('lets NaN and infinities spoil their own rows alone', () => {
    const q = quantizedNoise(scheme(8, { type: 'axis', axis: 0 }), [5, 40]);
    const x = noise(4 * 40);
    x[41] = Number.NaN;
    x[2 * 40 + 39] = -Infinity;
    const { codes, scales } = products[0].quantizeRows(x, 4, 40);
    const out = new Float32Array(20);
    products[0].multiply(products[0].upload(q), codes, scales, 4, out);
    for (const [i, value] of out.entries()) expect(Number.isNaN(value)).toBe([1, 2].includes(Math.floor(i / 5)));
    expect(products[0].quantizeRows(x, 4, 40, { scale: 1 / 127 })).toEqual(plainQuantizeRows(x, 4, 40, 1 / 127));
  });

  it('writes into given arrays', () => {
    const into = { codes: new Int8Array(70), scales: new Float32Array(3) };
    const x = noise(2 * 33);
    expect(products[0].quantizeRows(x, 2, 33, { into })).toBe(into);
    const { codes, scales } = plainQuantizeRows(x, 2, 33);
    expect([into.codes.slice(0, 66), into.scales.slice(0, 2)]).toEqual([codes, scales]);
  });

  it('refuses what it does not take', () => {
    const [product] = products;
    const q = quantizedNoise(scheme(8, { type: 'axis', axis: 0 }), [4, 32]);
    expect(product.supports(q.scheme)).toBe(true);
    const group: Granularity = { type: 'group', axis: 1, size: 32 };
    for (const other of [scheme(8, group), scheme(4, { ...group, size: 16 }), scheme(9, { type: 'tensor' })]) {
      expect(product.supports(other)).toBe(false);
      expect(code(() => product.upload({ ...q, scheme: other }))).toBe('UNSUPPORTED');
    }
    expect(code(() => product.upload({ ...q, parts: { ...q.parts, channelScale: noise(32) } }))).toBe('UNSUPPORTED');
    expect(code(() => product.upload({ ...q, parts: { ...q.parts, scales: tensor(noise(3)) } }))).toBe('SHAPE');
    expect(code(() => product.upload({ ...q, parts: { ...q.parts, codes: tensor(new Int8Array(5)) } }))).toBe('SHAPE');
    expect(code(() => product.upload(q, noise(3)))).toBe('SHAPE');
    const weight = product.upload(q);
    expect(code(() => product.multiply(weight, new Int8Array(32), noise(2), 2, new Float32Array(8)))).toBe('SHAPE');
    expect(code(() => product.multiply(weight, new Int8Array(64), noise(1), 2, new Float32Array(8)))).toBe('SHAPE');
    expect(code(() => product.multiply(weight, new Int8Array(64), noise(2), 2, new Float32Array(7)))).toBe('SHAPE');
    product.release(weight);
    expect(code(() => product.multiply(weight, new Int8Array(32), noise(1), 1, new Float32Array(4)))).toBe('DEVICE');
    expect(code(() => product.quantizeRows(noise(5), 2, 3))).toBe('SHAPE');
    for (const scale of [0, -1, Number.NaN, Infinity, 2 ** -140]) {
      expect(code(() => product.quantizeRows(noise(6), 2, 3, { scale }))).toBe('RANGE');
    }
  });
});

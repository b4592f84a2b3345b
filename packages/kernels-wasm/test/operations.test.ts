import { logSumExp as numericsLogSumExp, softmax as numericsSoftmax } from '@halftone/numerics';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { plainOperations, wasmOperations, wasmRuntime } from '../src/index.js';
import { noise } from './noise.js';
import { BUILDS } from './product.js';
import { errorCode, expectClose, hostileRows, ODD_SIZES, sameBits } from './rows.js';

const plain = plainOperations();
const runtimes = BUILDS.map((build) => wasmRuntime({ build, threads: 1, memoryBytes: 2 ** 26 }));
afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

/** Few different values, so that there are ties, and ends of the range. */
const ranked = fc.array(fc.constantFrom(0, -0, 1, -1, 0.5, 1e-45, -1e-45, 3e38, -3e38, Infinity, -Infinity), {
  minLength: 1,
  maxLength: 70,
});

describe.each(runtimes)('$build operations', (runtime) => {
  const fast = wasmOperations(runtime);
  const resident = (values: Float32Array) => {
    const array = runtime.allocate(values.length);
    array.set(values);
    return array;
  };
  const anywhere = [resident, (values: Float32Array) => values];

  describe('softmax', () => {
    it.each(ODD_SIZES)('of rows of %i values', (features) => {
      const x = noise(3 * features).map((value) => 40 * value);
      for (const factor of [undefined, 0.3, -2]) {
        const expected = new Float32Array(x.length);
        plain.softmax(x, 3, features, expected, factor);
        for (const place of anywhere) {
          const out = place(new Float32Array(x.length + 3).fill(99));
          fast.softmax(place(x), 3, features, out, factor);
          expectClose(out.subarray(0, x.length), expected, 6e-6, 2e-38);
          expect([...out.subarray(x.length)]).toEqual([99, 99, 99]);
          const same = place(x.slice());
          fast.softmax(same, 3, features, same, factor);
          expect(same).toEqual(out.subarray(0, x.length));
        }
      }
    });

    it.each([5, 33, 130])('of hostile rows of %i values as in TypeScript', (features) => {
      for (const [, row] of hostileRows(features)) {
        for (const factor of [1, -3, 1e30]) {
          const [expected, actual] = [new Float32Array(features), new Float32Array(features)];
          plain.softmax(row, 1, features, expected, factor);
          fast.softmax(row, 1, features, actual, factor);
          expectClose(actual, expected, 6e-6, 2e-38);
        }
      }
    });

    it('gives zeros for minus infinities beside something else', () => {
      const x = Float32Array.of(1, -Infinity, 1, -Infinity, -1e30);
      fast.softmax(x, 1, 5, x);
      expect([...x]).toEqual([0.5, 0, 0.5, 0, 0]);
    });
  });

  describe('logSumExp', () => {
    it.each([0, ...ODD_SIZES, 131_072])('of %i values', (length) => {
      const x = noise(length).map((value) => 40 * value);
      for (const place of anywhere) expect(fast.logSumExp(place(x))).toBeCloseTo(plain.logSumExp(x), 5);
    });

    it('of hostile values as in TypeScript', () => {
      for (const [, row] of hostileRows(37)) {
        const expected = plain.logSumExp(row);
        const actual = fast.logSumExp(row);
        if (!Object.is(actual, expected))
          expect(Math.abs(actual - expected)).toBeLessThan(1e-6 + 1e-6 * Math.abs(expected));
      }
    });
  });

  describe('argmax and topK', () => {
    it('are exact, with ties by index', () => {
      fc.assert(
        fc.property(ranked, fc.nat(), (values, seed) => {
          const x = Float32Array.from(values);
          const k = 1 + (seed % x.length);
          const expected = [new Float32Array(k), new Int32Array(k)] as const;
          plain.topK(x, k, ...expected);
          for (const place of anywhere) {
            const there = place(x);
            const found = [place(new Float32Array(k + 1).fill(99)), new Int32Array(k + 1).fill(99)] as const;
            fast.topK(there, k, ...found);
            expect(found[0].subarray(0, k)).toEqual(expected[0]);
            expect([...found[1]]).toEqual([...expected[1], 99]);
            expect(found[0][k]).toBe(99);
            expect(fast.argmax(there)).toBe(plain.argmax(x));
            runtime.free(there);
            runtime.free(found[0]);
          }
        }),
      );
    });

    it.each([1, 7, 256, 5000])('find %i of a vocabulary in any order', (k) => {
      const random = noise(20_003);
      const rising = random.slice().sort();
      for (const x of [random, rising, rising.slice().reverse()]) {
        const expected = [new Float32Array(k), new Int32Array(k)] as const;
        const actual = [new Float32Array(k), new Int32Array(k)] as const;
        plain.topK(x, k, ...expected);
        fast.topK(x, k, ...actual);
        expect(actual).toEqual(expected);
        expect(fast.argmax(x)).toBe(expected[1][0]);
      }
    });

    it('refuse NaN, wherever it is, and write nothing then', () => {
      for (let at = 0; at < 37; at++) {
        const x = noise(37);
        x[at] = Number.NaN;
        const values = new Float32Array(2).fill(99);
        for (const operations of [fast, plain]) {
          expect(errorCode(() => operations.argmax(x))).toBe('NUMERIC');
          expect(errorCode(() => operations.topK(x, 2, values, new Int32Array(2)))).toBe('NUMERIC');
        }
        expect([...values]).toEqual([99, 99]);
      }
    });
  });

  describe('walshHadamard', () => {
    const sizes = [
      1, 2, 4, 8, 16, 32, 64, 128, 512, 1024, 2048, 4096, 12, 24, 48, 96, 20, 40, 80, 640, 28, 56, 112, 3584,
    ];

    it.each(sizes)('of blocks of %i values', (size) => {
      const features = 3 * size;
      const x = noise(2 * features);
      const expected = x.slice();
      plain.walshHadamard(expected, 2, features, size);
      for (const place of anywhere) {
        const actual = place(Float32Array.from([...x, 99, 99, 99]));
        fast.walshHadamard(actual, 2, features, size);
        expectClose(actual.subarray(0, x.length), expected, 0, 2e-6);
        expect([...actual.subarray(x.length)]).toEqual([99, 99, 99]);
        fast.walshHadamard(actual, 2, features, size);
        expectClose(actual.subarray(0, x.length), x, 0, 2e-6);
      }
    });

    it('is the same for hostile values as in TypeScript', () => {
      for (const size of [8, 64, 12, 20, 28, 56]) {
        for (const [name, row] of hostileRows(size)) {
          // Sums may overflow in float32 alone.
          if (name === 'huge values' || name === 'the largest values') continue;
          const [actual, expected] = [row.slice(), row.slice()];
          plain.walshHadamard(expected, 1, size);
          fast.walshHadamard(actual, 1, size);
          const norm = Math.hypot(...row.filter(Number.isFinite));
          expectClose(actual, expected, 0, 4e-7 * norm + 1e-43);
        }
      }
    });
  });

  describe('quantize', () => {
    it.each([1, 31, 32, 33, 64, 4097])('rows of %i values to the same bits as in TypeScript', (features) => {
      const runs = Math.ceil(features / 32);
      const rows = [noise(features), ...hostileRows(features).map(([, row]) => row)];
      const x = new Float32Array(rows.length * features);
      for (const [i, row] of rows.entries()) x.set(row, i * features);
      const make = () =>
        [new Int8Array(x.length + 3).fill(99), new Float32Array(rows.length * runs + 3).fill(99)] as const;
      const expected = make();
      plain.quantize(x, rows.length, features, ...expected);
      for (const place of anywhere) {
        const [codes, scales] = make();
        const placed = place(scales);
        fast.quantize(place(x), rows.length, features, codes, placed);
        expect([codes, placed]).toEqual(expected);
      }
    });

    it('rounds ties to even', () => {
      const x = Float32Array.from([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]);
      for (const operations of [fast, plain]) {
        const codes = new Int8Array(7);
        operations.quantize(x, 1, 7, codes, new Float32Array(1));
        expect([...codes]).toEqual([127, 0, 2, 2, 0, -2, -2]);
      }
    });
  });

  it('rotate neighbours as they rotate halves', () => {
    for (const pairs of [1, 2, 3, 4, 5, 33]) {
      const angles = noise(3 * pairs, 4);
      const tables = [angles.map((angle) => Math.cos(9 * angle)), angles.map((angle) => Math.sin(9 * angle))] as const;
      const index = Int32Array.of(2, 0);
      const halves = noise(2 * 2 * 2 * pairs);
      const channel = (i: number) =>
        2 * pairs * Math.floor(i / (2 * pairs)) + 2 * (i % pairs) + (i % (2 * pairs) < pairs ? 0 : 1);
      const neighbours = new Float32Array(halves.length);
      halves.forEach((value, i) => {
        neighbours[channel(i)] = value;
      });
      const plainly = neighbours.slice();
      fast.rotate(halves, index, 2, pairs, ...tables);
      fast.rotateInterleaved(neighbours, index, 2, pairs, ...tables);
      plain.rotateInterleaved(plainly, index, 2, pairs, ...tables);
      halves.forEach((value, i) => {
        expect(neighbours[channel(i)]).toBe(value);
      });
      expectClose(neighbours, plainly, 0, 2e-7);
    }
  });

  it.each([
    ['plain', plain],
    ['fast', fast],
  ])('refuse what does not fit: %s', (_, operations) => {
    const x = new Float32Array(6);
    expect(errorCode(() => operations.softmax(x, 2, 4, x))).toBe('SHAPE');
    expect(errorCode(() => operations.softmax(x, 1, 6, new Float32Array(5)))).toBe('SHAPE');
    expect(errorCode(() => operations.walshHadamard(x, 1, 7))).toBe('SHAPE');
    expect(errorCode(() => operations.walshHadamard(x, 1, 6, 4))).toBe('SHAPE');
    expect(errorCode(() => operations.walshHadamard(x, 1, 6))).toBe('UNSUPPORTED');
    expect(errorCode(() => operations.argmax(new Float32Array(0)))).toBe('RANGE');
    expect(errorCode(() => operations.topK(x, 7, new Float32Array(7), new Int32Array(7)))).toBe('RANGE');
    expect(errorCode(() => operations.topK(x, 0, x, new Int32Array(7)))).toBe('RANGE');
    expect(errorCode(() => operations.topK(x, 2, new Float32Array(1), new Int32Array(2)))).toBe('SHAPE');
    expect(errorCode(() => operations.topK(x, 2, new Float32Array(2), new Int32Array(1)))).toBe('SHAPE');
    expect(errorCode(() => operations.quantize(x, 2, 3, new Int8Array(6), new Float32Array(1)))).toBe('SHAPE');
    expect(errorCode(() => operations.quantize(x, 2, 3, new Int8Array(5), new Float32Array(2)))).toBe('SHAPE');
    expect(errorCode(() => operations.rotateInterleaved(x, Int32Array.of(2), 1, 3, x, x))).toBe('RANGE');
  });
});

describe('plain operations', () => {
  it('agree with @halftone/numerics', () => {
    for (const row of [noise(9), ...hostileRows(9).map(([, values]) => values)]) {
      if (row.includes(Infinity)) continue;
      const out = new Float32Array(9);
      plain.softmax(row, 1, 9, out);
      expectClose(out, Float32Array.from(numericsSoftmax(row)), 1e-6, 0);
      expectClose(Float32Array.of(plain.logSumExp(row)), Float32Array.of(numericsLogSumExp(row)), 1e-7, 0);
    }
  });
});

describe('runtimes', () => {
  it('must be of wasmRuntime, and not disposed', async () => {
    expect(errorCode(() => wasmOperations({} as never))).toBe('RANGE');
    const runtime = wasmRuntime({ threads: 1, memoryBytes: 2 ** 24 });
    const fast = wasmOperations(runtime);
    const x = runtime.allocate(8);
    expect(fast.argmax(x)).toBe(0);
    await runtime.dispose();
    expect(errorCode(() => fast.argmax(x))).toBe('DEVICE');
    expect(errorCode(() => fast.add(x, x, 8))).toBe('DEVICE');
  });

  it.each(BUILDS)('of several threads give the same bits, %s', async (build) => {
    const results = await Promise.all(
      [1, 2].map(async (threads) => {
        const runtime = wasmRuntime({ build, threads, memoryBytes: 2 ** 26 });
        const fast = wasmOperations(runtime);
        const [rows, features] = [128, 768];
        const x = noise(rows * features).map((value) => 9 * value);
        const out = [x.slice(), x.slice(), x.slice()];
        const codes = new Int8Array(x.length);
        const scales = new Float32Array(rows * (features / 32));
        for (let repeat = 0; repeat < 3; repeat++) {
          await fast.softmax(x, rows, features, out[0]);
          await fast.walshHadamard(out[1], rows, features);
          await fast.walshHadamard(out[2], rows, features, 64);
          await fast.quantize(x, rows, features, codes, scales);
        }
        await runtime.dispose();
        return [...out, codes, scales];
      }),
    );
    expect(sameBits(results[0], results[1])).toBe(true);
  });
});

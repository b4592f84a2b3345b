import { layerNorm as normsLayerNorm, rmsNorm as normsRmsNorm } from '@halftone/norms';
import type { ActivationName } from '@halftone/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { blockOperations } from '../src/internal/block-operations.js';
import { activate } from '../src/plain/activate.js';
import { add } from '../src/plain/add.js';
import { layerNorm } from '../src/plain/layer-norm.js';
import { rmsNorm } from '../src/plain/rms-norm.js';
import { rotate } from '../src/plain/rotate.js';
import { machine } from '../src/runtime.js';
import { noise } from './noise.js';
import { BUILDS } from './product.js';
import { errorCode, expectClose, hostileRows, ODD_SIZES, sameBits } from './rows.js';

/** With their largest errors, relative to results of at least 1e-35. The argument of an exponential is rounded in `gelu_tanh`. */
const ACTIVATIONS: readonly (readonly [ActivationName, number])[] = [
  ['silu', 1e-6],
  ['gelu', 1e-6],
  ['gelu_tanh', 2e-5],
];
const plain = { rmsNorm, layerNorm, rotate, activate, add };

const runtimes = BUILDS.map((build) => machine({ build, threads: 1, memoryBytes: 2 ** 26 }));
afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

describe.each(runtimes)('$build block operations', (runtime) => {
  const fast = blockOperations(runtime);
  /** A copy in kernel memory. */
  const resident = (values: Float32Array) => {
    const array = runtime.allocate(values.length);
    array.set(values);
    return array;
  };

  /** Runs `work` on an output with guards, on the heap and in kernel memory, out of place and in place; all must agree. */
  function normed(
    x: Float32Array,
    work: (x: Float32Array, out: Float32Array, place: (values: Float32Array) => Float32Array) => void,
  ): Float32Array {
    const out = new Float32Array(x.length + 3).fill(99);
    work(x, out, (values) => values);
    expect([...out.subarray(x.length)]).toEqual([99, 99, 99]);
    const same = x.slice();
    work(same, same, resident);
    expect(same).toEqual(out.subarray(0, x.length));
    const guarded = resident(Float32Array.from([99, ...x, 99, 99, 99]));
    const inside = guarded.subarray(1, 1 + x.length);
    work(inside, inside, resident);
    expect(inside).toEqual(same);
    expect([guarded[0], ...guarded.subarray(x.length + 1)]).toEqual([99, 99, 99, 99]);
    runtime.free(guarded);
    return same;
  }

  it.each(ODD_SIZES)('normalise rows of %i values', (features) => {
    const [x, gain, bias] = [noise(3 * features), noise(features, 2), noise(features, 3)];
    const expected = new Float32Array(x.length);
    rmsNorm(x, 3, features, gain, 1e-5, expected);
    expectClose(
      normed(x, (from, to, place) => fast.rmsNorm(from, 3, features, place(gain), 1e-5, to)),
      expected,
      2e-6,
      0,
    );
    for (const shift of [undefined, bias]) {
      layerNorm(x, 3, features, gain, shift, 1e-5, expected);
      const actual = normed(x, (from, to, place) =>
        fast.layerNorm(from, 3, features, place(gain), shift && place(shift), 1e-5, to),
      );
      expectClose(actual, expected, 2e-6, 1e-6);
    }
  });

  it.each([5, 33, 130])('normalise hostile rows of %i values as the plain functions do', (features) => {
    const gain = noise(features, 2);
    const actual = new Float32Array(features);
    const expected = new Float32Array(features);
    for (const [, row] of hostileRows(features)) {
      for (const epsilon of [1e-5, 0]) {
        rmsNorm(row, 1, features, gain, epsilon, expected);
        fast.rmsNorm(row, 1, features, gain, epsilon, actual);
        expectClose(actual, expected, 2e-6, 0);
        layerNorm(row, 1, features, gain, gain, epsilon, expected);
        fast.layerNorm(row, 1, features, gain, gain, epsilon, actual);
        expectClose(actual, expected, 4e-6, 2e-6);
      }
    }
  });

  it.each([1, 2, 3, 5, 32, 33])('rotate %i pairs', (pairs) => {
    const [rows, heads, tableRows] = [4, 3, 7];
    const angles = noise(tableRows * pairs, 4);
    const tables = [angles.map((angle) => Math.cos(9 * angle)), angles.map((angle) => Math.sin(9 * angle))] as const;
    const index = Int32Array.of(6, 0, 3, 3);
    const x = noise(rows * heads * 2 * pairs);
    const expected = x.slice();
    rotate(expected, index, heads, pairs, ...tables);
    for (const place of [resident, (values: Float32Array) => values]) {
      for (const placeTable of [resident, (values: Float32Array) => values]) {
        const guarded = place(Float32Array.from([...x, 99, 99, 99]));
        fast.rotate(guarded, index, heads, pairs, placeTable(tables[0]), placeTable(tables[1]));
        expectClose(guarded.subarray(0, x.length), expected, 0, 2e-7);
        expect([...guarded.subarray(x.length)]).toEqual([99, 99, 99]);
      }
    }
  });

  it.each(ACTIVATIONS)('%s is near the plain function everywhere', (name, tolerance) => {
    const count = 1 << 16;
    const dense = Float32Array.from({ length: count }, (_, i) => (30 * i) / count - 15);
    const expected = dense.slice();
    activate(name, expected, count);
    fast.activate(name, dense, count);
    expectClose(dense, expected, tolerance, 1e-35);
  });

  it.each(ACTIVATIONS)('%s of odd sizes, alone and with a factor', (name, tolerance) => {
    for (const length of [0, 1, 2, 3, 5, 31, 1024, 1027, 4097]) {
      const [x, factor] = [noise(length).map((value) => 12 * value), noise(length, 2)];
      for (const gate of [undefined, factor]) {
        const expected = x.slice();
        activate(name, expected, length, gate);
        for (const place of [resident, (values: Float32Array) => values]) {
          const actual = place(Float32Array.from([...x, 99, 99, 99]));
          fast.activate(name, actual, length, gate && place(gate));
          expectClose(actual.subarray(0, length), expected, tolerance, 1e-35);
          expect([...actual.subarray(length)]).toEqual([99, 99, 99]);
        }
      }
    }
  });

  it.each(ACTIVATIONS)('%s of hostile values, wherever they stand', (name, tolerance) => {
    const hostile = [
      Number.NaN,
      Infinity,
      -Infinity,
      0,
      -0,
      3e38,
      -3e38,
      1e-45,
      -1e-45,
      1e-30,
      -1e-30,
      40,
      -40,
      88,
      -88,
    ];
    for (let shift = 0; shift < 4; shift++) {
      const x = Float32Array.from([...hostile.slice(shift), ...hostile.slice(0, shift)]);
      // Huge factors would show how the smallest results are rounded.
      const factor = x.map((value) => (Math.abs(value) === Math.fround(3e38) ? 2 : value)).reverse();
      for (const gate of [undefined, factor]) {
        const expected = x.slice();
        activate(name, expected, x.length, gate);
        const actual = x.slice();
        fast.activate(name, actual, x.length, gate);
        expectClose(actual, expected, tolerance, 1e-35);
      }
    }
  });

  it('adds', () => {
    for (const length of [0, 1, 3, 33, 1027]) {
      const [x, y] = [Float32Array.from([...noise(length), 99, 99]), noise(length, 2)];
      const expected = x.slice();
      add(expected, y, length);
      const there = resident(x);
      fast.add(x, y, length);
      fast.add(there, resident(y), length);
      expect(x).toEqual(expected);
      expect(there.slice()).toEqual(expected);
    }
    const x = Float32Array.of(Infinity, Number.NaN, -0, 3e38);
    fast.add(x, x, 4);
    expect([...x]).toEqual([Infinity, Number.NaN, -0, Infinity]);
  });

  it('takes arrays of another memory', () => {
    const small = machine({ build: runtime.build, threads: 1, memoryBytes: 2 ** 20 });
    const far = [1, 2, 3].map(() => small.allocate(80_000));
    expect(new Set(far.map((array) => small.arenaOf(array))).size).toBeGreaterThan(1);
    far[0].set(noise(80_000));
    far[2].set(noise(80_000, 2));
    const expected = far[0].slice();
    add(expected, far[2], 999);
    blockOperations(small).add(far[0], far[2], 999);
    expect(far[0].slice()).toEqual(expected);
    return small.dispose();
  });

  it.each([
    ['plain', plain],
    ['fast', fast],
  ])('refuse what does not fit: %s', (_, operations) => {
    const x = new Float32Array(6);
    expect(errorCode(() => operations.rmsNorm(x, 2, 4, x, 0, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rmsNorm(x, 2, 3, x, 0, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rmsNorm(x, -1, 6, x, 0, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rmsNorm(x, 1, 0, new Float32Array(0), 0, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rmsNorm(x, 1, 6, x, 0, new Float32Array(5)))).toBe('SHAPE');
    expect(errorCode(() => operations.layerNorm(x, 1, 6, x, new Float32Array(5), 0, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rotate(x, Int32Array.of(0, 1), 1, 3, x, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rotate(x, Int32Array.of(0.5), 0.5, 3, x, x))).toBe('SHAPE');
    expect(errorCode(() => operations.rotate(x, Int32Array.of(2), 1, 3, x, x))).toBe('RANGE');
    expect(errorCode(() => operations.rotate(x, Int32Array.of(-1), 1, 3, x, x))).toBe('RANGE');
    expect(errorCode(() => operations.activate('relu' as 'silu', x, 6))).toBe('UNSUPPORTED');
    expect(errorCode(() => operations.activate('silu', x, 7))).toBe('SHAPE');
    expect(errorCode(() => operations.activate('silu', x, 6, new Float32Array(5)))).toBe('SHAPE');
    expect(errorCode(() => operations.add(x, new Float32Array(5), 6))).toBe('SHAPE');
    expect(errorCode(() => operations.add(x, x, 1.5))).toBe('SHAPE');
  });
});

describe('plain norms', () => {
  it('agree with @halftone/norms', () => {
    const [x, gain] = [noise(66), noise(33, 2)];
    const [expected, actual] = [new Float32Array(66), new Float32Array(66)];
    normsRmsNorm(x, 2, 33, gain, 1e-6, expected);
    rmsNorm(x, 2, 33, gain, 1e-6, actual);
    expect(actual).toEqual(expected);
    normsLayerNorm(x, 2, 33, gain, gain, 1e-6, expected);
    layerNorm(x, 2, 33, gain, gain, 1e-6, actual);
    expect(actual).toEqual(expected);
  });
});

describe('several threads', () => {
  it.each(BUILDS)('give the same bits, %s', async (build) => {
    const results = await Promise.all(
      [1, 2].map(async (threads) => {
        const runtime = machine({ build, threads, memoryBytes: 2 ** 26 });
        const fast = blockOperations(runtime);
        const [rows, features] = [128, 771];
        const x = noise(rows * features).map((value) => 9 * value);
        const gain = noise(features, 2);
        const out = [x.slice(), x.slice(), x.slice(), x.slice(), x.slice()];
        const index = Int32Array.from({ length: rows }, (_, i) => (7 * i) % 50);
        for (let repeat = 0; repeat < 3; repeat++) {
          await fast.rmsNorm(x, rows, features, gain, 1e-5, out[0]);
          await fast.layerNorm(x, rows, features, gain, gain, 1e-5, out[1]);
          await fast.rotate(out[2], index, 3, 128, noise(50 * 128, 5), noise(50 * 128, 6));
          for (const [name] of ACTIVATIONS) await fast.activate(name, out[3], x.length, x);
          await fast.add(out[4], x, x.length);
        }
        await runtime.dispose();
        return out;
      }),
    );
    expect(sameBits(results[0], results[1])).toBe(true);
  });
});

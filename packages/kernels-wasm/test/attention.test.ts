import { isHalftoneError } from '@halftone/tensor';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type AttentionPartials,
  attention,
  attentionPartials,
  type CodedEntries,
  finishPartials,
  type KvSegment,
  mergePartials,
  type WasmRuntime,
  wasmRuntime,
} from '../src/index.js';
import { decodeEntries, plainAttention } from '../src/plain/attention.js';
import { type AttentionCase, type AttentionSetup, attentionCase, normal, STORAGES } from './attention-cases.js';
import { BUILDS } from './product.js';

const TOLERANCE = 1e-5;
/** Where codes are multiplied as integers: queries and weights are rounded to 16 bits, by at most 1.6e-5 of the largest. */
const CODED_TOLERANCE = 2e-4;
const runtimes = BUILDS.map((build) => wasmRuntime({ build, threads: 1 }));
afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

function attend(runtime: WasmRuntime, { shape, query, positions, segments }: AttentionCase): Float32Array {
  const out = new Float32Array(query.length + 3).fill(99);
  expect(attention(runtime).attend(shape, query, positions, (kvHead) => segments[kvHead], out)).toBeUndefined();
  expect([...out.subarray(query.length)]).toEqual([99, 99, 99]);
  return out.subarray(0, query.length);
}

function plain({ shape, query, positions, segments }: AttentionCase): Float64Array {
  return plainAttention(shape, query, positions, (kvHead) => segments[kvHead]);
}

/** Largest difference; NaN and infinities must be at the same places. */
function difference(actual: Float32Array, expected: Float64Array): number {
  expect(actual.length).toBe(expected.length);
  return actual.reduce((worst, value, i) => {
    if (Number.isFinite(value) && Number.isFinite(expected[i])) return Math.max(worst, Math.abs(value - expected[i]));
    return Number.isFinite(value) === Number.isFinite(expected[i]) ? worst : Number.POSITIVE_INFINITY;
  }, 0);
}

/** A copy with everything in the memory of a runtime, with other values around each array. */
function inKernelMemory(runtime: WasmRuntime, given: AttentionCase): AttentionCase {
  const place = <T extends Float32Array | Uint16Array | Int8Array | Uint8Array>(array: T): T => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const room = runtime.allocate(Math.ceil(bytes.length / 4) + 16).fill(Number.NaN);
    new Uint8Array(room.buffer, room.byteOffset + 32, bytes.length).set(bytes);
    return new (array.constructor as new (b: ArrayBufferLike, o: number, l: number) => T)(
      room.buffer,
      room.byteOffset + 32,
      array.length,
    );
  };
  const side = (entries: KvSegment['keys']): KvSegment['keys'] => {
    if (entries instanceof Float32Array) return place(entries);
    if (entries.type === 'f16') return { ...entries, data: place(entries.data) };
    const { data, scales, offsets } = entries;
    return { ...entries, data: place(data), scales: place(scales), offsets: offsets && place(offsets) };
  };
  const segments = given.segments.map(({ keys, values, ...rest }) => ({
    ...rest,
    keys: side(keys),
    values: side(values),
  }));
  return { ...given, query: place(given.query), segments };
}

describe.each(runtimes)('attention of the $build build', (runtime) => {
  const check = (setup: AttentionSetup) => {
    const given = attentionCase(setup);
    const coded = [setup.keys, setup.values].some((storage) => storage?.includes('token'));
    expect(difference(attend(runtime, given), plain(given))).toBeLessThan(coded ? CODED_TOLERANCE : TOLERANCE);
  };

  it.each([1, 2, 3, 4, 5, 7, 8, 20, 64, 80, 96, 128, 256])('agrees with the formula for heads of %i', (headDim) => {
    for (const group of [1, 2, 3, 7, 8]) {
      for (const rows of [1, 3, 4]) check({ headDim, group, rows, length: 77, seed: group });
    }
  });

  it.each([0, 1, 2, 3, 4, 17, 63, 64, 65, 1000, 1024, 1025, 2100])('takes %i entries', (length) => {
    for (const rows of [1, 3, 20]) check({ headDim: 20, rows, length });
    check({ headDim: 5, group: 1, length });
  });

  it.each([130, 400])('takes %i rows', (rows) => {
    check({ headDim: 64, rows, length: rows });
    check({ headDim: 64, rows, length: rows + 70, window: 33 });
    check({ headDim: 5, rows, length: rows, group: 1, kvHeads: 1 });
  });

  it('agrees for any sizes, windows, gaps and ragged heads', () => {
    const setup = fc.record({
      headDim: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constantFrom(16, 32, 48, 64, 80)),
      group: fc.integer({ min: 1, max: 9 }),
      kvHeads: fc.integer({ min: 1, max: 3 }),
      rows: fc.integer({ min: 1, max: 40 }),
      length: fc.integer({ min: 0, max: 200 }),
      window: fc.option(fc.integer({ min: 1, max: 150 }), { nil: undefined }),
      every: fc.integer({ min: 1, max: 20 }),
      ragged: fc.integer({ min: 0, max: 90 }),
      keys: fc.constantFrom(...STORAGES),
      values: fc.constantFrom(...STORAGES),
      groupSize: fc.constantFrom(2, 4, 6, 16, 32, 64),
      seed: fc.nat(1000),
    });
    fc.assert(fc.property(setup, check), { numRuns: 150 });
  });

  it.each(STORAGES)('reads %s entries', (keys) => {
    for (const [headDim, groupSize] of [
      [64, 32],
      [64, 64],
      [128, 32],
      [80, 32],
      [33, 32],
      [5, 8],
    ] as const) {
      check({ headDim, keys, groupSize, length: 150 });
      check({ headDim, keys, groupSize, rows: 40, length: 150, group: 4 });
    }
  });

  it('gives the same bits for entries in kernel memory and for others', () => {
    for (const keys of STORAGES) {
      for (const headDim of [64, 80, 7]) {
        const given = attentionCase({ headDim, keys, length: 70, rows: 3, every: 9 });
        const held = inKernelMemory(runtime, given);
        expect(attend(runtime, held)).toEqual(attend(runtime, given));
        const out = runtime.allocate(given.query.length);
        attention(runtime).attend(held.shape, held.query, held.positions, (kvHead) => held.segments[kvHead], out);
        expect(out).toEqual(attend(runtime, given));
      }
    }
  });

  it('decodes every float16', () => {
    // One entry each: its weight is 1, so that the result is the value.
    const data = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const shape = { heads: 1, kvHeads: 1, headDim: 65536 };
    const segment: KvSegment = {
      length: 1,
      keys: new Float32Array(65536),
      values: { type: 'f16', data },
      positions: Int32Array.of(0),
    };
    const out = new Float32Array(65536);
    attention(runtime).attend(shape, new Float32Array(65536), Int32Array.of(0), () => segment, out);
    const expected = plainAttention(shape, new Float32Array(65536), Int32Array.of(0), () => segment);
    expect(out.map((value) => value + 0)).toEqual(Float32Array.from(expected, (value) => value + 0));
  });

  it('does not let entries that a row must not see touch it', () => {
    for (const hostile of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38]) {
      for (const [rows, window] of [
        [1, undefined],
        [4, undefined],
        [130, undefined],
        [130, 20],
      ]) {
        const given = attentionCase({ headDim: 8, rows, length: 130, window });
        const expected = plain(given);
        const clean = attend(runtime, given);
        const [{ keys, values }] = given.segments as readonly { keys: Float32Array; values: Float32Array }[];
        keys.fill(hostile, 8 * 120, 8 * 121);
        values.fill(hostile, 8 * 120, 8 * 121);
        const spoiled = attend(runtime, given);
        const seen = plain(given);
        // Scores and sums of 3e38 overflow in float32.
        if (hostile !== 3e38) expect(difference(spoiled, seen)).toBeLessThan(TOLERANCE);
        for (let i = 0; i < clean.length; i++) if (Object.is(seen[i], expected[i])) expect(spoiled[i]).toBe(clean[i]);
      }
    }
  });

  it('spoils what sees a NaN or an infinity, as the formula does', () => {
    for (const rows of [1, 70]) {
      for (const hostile of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        for (const place of ['query', 'keys', 'values'] as const) {
          const given = attentionCase({ headDim: 12, rows, length: 140 });
          const array = place === 'query' ? given.query : (given.segments[0][place] as Float32Array);
          array[12 * 60 + 3 - (place === 'query' ? 12 * 60 : 0)] = hostile;
          expect(difference(attend(runtime, given), plain(given))).toBeLessThan(TOLERANCE);
        }
      }
    }
  });

  it('spoils what sees a NaN or an infinite scale alone', () => {
    for (const keys of STORAGES.filter((storage) => storage.startsWith('int'))) {
      for (const [rows, group] of [
        [1, 2],
        [3, 1],
        [30, 1],
      ]) {
        for (const hostile of [Number.NaN, Number.POSITIVE_INFINITY]) {
          for (const side of ['keys', 'values'] as const) {
            const given = attentionCase({ headDim: 32, rows, group, length: 131, keys, groupSize: 16 });
            const { scales } = given.segments[0][side] as CodedEntries;
            // Of the last entry or entries.
            scales[scales.length - 3] = hostile;
            expect(difference(attend(runtime, given), plain(given))).toBeLessThan(CODED_TOLERANCE);
          }
        }
      }
    }
  });

  it('takes scores of any size, equal ones, denormals and zeros', () => {
    for (const scale of [0, 1e-42, 1e-20, 30, 1e15]) {
      const given = attentionCase({ headDim: 16, rows: 5, length: 90 });
      const scaled = { ...given, query: given.query.map((value) => value * scale) };
      // Rounding of scores is multiplied by their size; where it decides, no result is right.
      if (scale < 100)
        expect(difference(attend(runtime, scaled), plain(scaled))).toBeLessThan(TOLERANCE * Math.max(1, scale));
      else for (const value of attend(runtime, scaled)) expect(Math.abs(value)).toBeLessThan(4);
    }
  });

  it('knows scores of -infinity from entries that were not seen', () => {
    const segment = (keys: readonly number[]): KvSegment => ({
      length: keys.length,
      keys: Float32Array.from(keys),
      values: Float32Array.from(keys, (_, i) => i + 1),
      positions: Int32Array.from(keys, (_, i) => i),
    });
    const low = Number.NEGATIVE_INFINITY;
    const shape = { heads: 1, kvHeads: 1, headDim: 1 };
    const result = (keys: readonly number[], position: number) => {
      const out = new Float32Array(1);
      attention(runtime).attend(shape, Float32Array.of(1), Int32Array.of(position), () => segment(keys), out);
      return out[0];
    };
    expect(result([low, low], 1)).toBeNaN();
    expect(result([...new Array(64).fill(low), 0], 64)).toBe(65);
    expect(result([0, 0, 0], -1)).toBe(0);
  });

  it('takes no rows', () => {
    const given = attentionCase({ headDim: 4, length: 3 });
    expect(attend(runtime, { ...given, query: new Float32Array(0), positions: new Int32Array(0) })).toHaveLength(0);
  });

  it('takes rows in any order', () => {
    const given = attentionCase({ headDim: 8, rows: 30, length: 100 });
    given.positions.reverse();
    expect(difference(attend(runtime, given), plain(given))).toBeLessThan(TOLERANCE);
  });

  it('writes over its queries where asked to', () => {
    for (const length of [40, 1500]) {
      const given = attentionCase({ headDim: 8, rows: 5, length });
      const expected = attend(runtime, given);
      const query = runtime.allocate(given.query.length);
      query.set(given.query);
      attention(runtime).attend(given.shape, query, given.positions, (kvHead) => given.segments[kvHead], query);
      expect(query).toEqual(expected);
    }
  });
});

describe.each(runtimes)('partials of the $build build', (runtime) => {
  /** The entries of a case from `first` on. */
  const part = (segment: KvSegment, first: number, end: number, headDim: number): KvSegment => ({
    length: Math.max(0, Math.min(end, segment.length) - first),
    keys: (segment.keys as Float32Array).subarray(first * headDim, end * headDim),
    values: (segment.values as Float32Array).subarray(first * headDim, end * headDim),
    positions: segment.positions.subarray(first, end),
  });

  const partial = (given: AttentionCase, first: number, end: number): AttentionPartials => {
    const { shape, query, positions, segments } = given;
    const result = attentionPartials(positions.length, shape.heads, shape.headDim);
    const view = (kvHead: number) => part(segments[kvHead], first, end, shape.headDim);
    attention(runtime).attendPartial(shape, query, positions, view, result);
    return result;
  };

  it('of parts merge to the whole in any order', () => {
    for (const rows of [1, 5, 70]) {
      for (const window of [undefined, 40]) {
        const given = attentionCase({ headDim: 20, rows, length: 1300, window, ragged: 3, every: 10 });
        const { shape } = given;
        for (const order of [
          [0, 1, 2, 3],
          [2, 0, 3, 1],
        ]) {
          const ends = [0, 1, 300, 1277, 1300];
          const whole = attentionPartials(rows, shape.heads, shape.headDim);
          for (const i of order) mergePartials(whole, partial(given, ends[i], ends[i + 1]));
          const out = new Float32Array(given.query.length);
          finishPartials(whole, out);
          expect(difference(out, plain(given))).toBeLessThan(TOLERANCE);
        }
      }
    }
  });

  it('are the largest score, the sum of exponentials and the weighted values', () => {
    const shape = { heads: 2, kvHeads: 1, headDim: 1 };
    const segment: KvSegment = {
      length: 2,
      keys: Float32Array.of(1, 3),
      values: Float32Array.of(10, 20),
      positions: Int32Array.of(4, 6),
    };
    const partials = attentionPartials(2, 2, 1);
    attention(runtime).attendPartial(shape, Float32Array.of(1, 2, 1, -1), Int32Array.of(3, 6), () => segment, partials);
    expect([...partials.maxima]).toEqual([-Infinity, -Infinity, 3, -1]);
    const close = (value: number) => expect.closeTo(value, 5);
    expect([...partials.sums]).toEqual([0, 0, close(1 + Math.exp(-2)), close(1 + Math.exp(-2))]);
    expect([...partials.values]).toEqual([0, 0, close(20 + 10 * Math.exp(-2)), close(10 + 20 * Math.exp(-2))]);
  });

  it('over several types of storage merge', () => {
    const [old, recent] = [
      attentionCase({ headDim: 32, length: 200, rows: 2, keys: 'int4 channel offsets', values: 'int8 token' }),
      attentionCase({ headDim: 32, length: 50, rows: 2, keys: 'f32', values: 'f16', seed: 5 }),
    ];
    const positions = Int32Array.of(230, 260);
    const later = recent.segments.map((segment) => ({ ...segment, positions: segment.positions.map((p) => p + 210) }));
    const whole = attentionPartials(2, 4, 32);
    const add = attentionPartials(2, 4, 32);
    const kernels = attention(runtime);
    kernels.attendPartial(old.shape, old.query, positions, (kvHead) => old.segments[kvHead], whole);
    kernels.attendPartial(old.shape, old.query, positions, (kvHead) => later[kvHead], add);
    mergePartials(whole, add);
    const out = new Float32Array(old.query.length);
    finishPartials(whole, out);
    expect(difference(out, plain(joined(old, later, positions)))).toBeLessThan(CODED_TOLERANCE);
  });
});

/** One case with the decoded entries of both. */
function joined(given: AttentionCase, later: readonly KvSegment[], positions: Int32Array): AttentionCase {
  const { headDim } = given.shape;
  const segments = given.segments.map((first, kvHead) => {
    const second = later[kvHead];
    const side = (name: 'keys' | 'values') =>
      Float32Array.of(
        ...decodeEntries(first[name], first.length, headDim),
        ...decodeEntries(second[name], second.length, headDim),
      );
    return {
      length: first.length + second.length,
      keys: side('keys'),
      values: side('values'),
      positions: Int32Array.of(...first.positions.subarray(0, first.length), ...second.positions),
    };
  });
  return { ...given, positions, segments };
}

describe('threads', () => {
  it('do not change a bit', async () => {
    const one = runtimes[0];
    for (const threads of [2, 3]) {
      const several = wasmRuntime({ build: one.build, threads });
      for (const setup of [
        { headDim: 64, length: 5000, kvHeads: 3, ragged: 900 },
        { headDim: 64, length: 300, rows: 200, keys: 'int8 token' },
        { headDim: 30, length: 3000, rows: 3, window: 2500, keys: 'int4 channel' },
      ] as const) {
        const given = attentionCase(setup);
        expect(attend(several, given)).toEqual(attend(one, given));
      }
      await several.dispose();
    }
  });
});

describe('refusals', () => {
  const [runtime] = runtimes;
  const code = (change: Partial<AttentionCase>, setup: Partial<AttentionSetup> = {}): string => {
    try {
      attend(runtime, { ...attentionCase({ headDim: 8, length: 10, ...setup }), ...change });
    } catch (error) {
      return isHalftoneError(error) ? error.code : String(error);
    }
    return 'nothing thrown';
  };

  it('name what does not fit', () => {
    const { segments } = attentionCase({ headDim: 8, length: 10 });
    const coded = attentionCase({ headDim: 8, length: 10, keys: 'int4 token', groupSize: 2 }).segments;
    const change = (side: object, from = segments) => ({
      segments: from.map((each) => ({ ...each, ...side })) as KvSegment[],
    });
    expect(code({ shape: { heads: 4, kvHeads: 3, headDim: 8 } })).toBe('SHAPE');
    expect(code({ shape: { heads: 4, kvHeads: 2, headDim: 0 } })).toBe('SHAPE');
    expect(code({ shape: { heads: 4, kvHeads: 2, headDim: 8, window: 0 } })).toBe('RANGE');
    expect(code({ positions: Int32Array.of(1, 2) })).toBe('SHAPE');
    expect(code(change({ length: 11 }))).toBe('SHAPE');
    expect(code(change({ keys: normal(79, 1) }))).toBe('SHAPE');
    expect(code(change({ values: { type: 'f16', data: new Uint16Array(79) } }))).toBe('SHAPE');
    expect(code(change({ values: { ...(coded[0].values as object), groupSize: 3 } }, coded))).toBe('RANGE');
    expect(code(change({ keys: { ...(coded[0].keys as object), scales: new Float32Array(39) } }, coded))).toBe('SHAPE');
    expect(code(change({ keys: { ...(coded[0].keys as object), offsets: new Float32Array(39) } }, coded))).toBe(
      'SHAPE',
    );
    expect(code(change({ keys: { ...(coded[0].keys as object), data: new Int8Array(39) } }, coded))).toBe('SHAPE');
    expect(code(change({ keys: { ...(coded[0].keys as object), type: 'int3' } }, coded))).toBe('DTYPE');
  });

  it('name partials of another shape', () => {
    const { shape, query, positions, segments } = attentionCase({ headDim: 8, length: 10 });
    const into = attentionPartials(1, 4, 7);
    const refused = expect.objectContaining({ code: 'SHAPE' });
    const view = (kvHead: number) => segments[kvHead];
    expect(() => attention(runtime).attendPartial(shape, query, positions, view, into)).toThrow(refused);
    expect(() => mergePartials(into, attentionPartials(1, 4, 8))).toThrow(refused);
    expect(() => finishPartials(into, new Float32Array(27))).toThrow(refused);
  });

  it('follow after dispose', async () => {
    const disposed = wasmRuntime({ threads: 1 });
    await disposed.dispose();
    const given = attentionCase({ headDim: 8, length: 10 });
    expect(() => attend(disposed, given)).toThrow(expect.objectContaining({ code: 'DEVICE' }));
  });
});

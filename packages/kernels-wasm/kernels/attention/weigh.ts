import { TILE } from '../../src/internal/attention-layout.js';
import { EXPONENTIAL_CONSTANTS, exponentialOf } from '../block/exponential.js';
import { type Build, multiplyAdd, unroll } from '../unroll.js';
import { eachQueryBlock, queryBlocks } from './scores.js';

/** Online softmax: scores to weights, and sums of values with these weights. */
export function weighSource(build: Build): string {
  return `
/** Below every finite score: an entry with a score of -infinity was seen all the same. */
export let LOWEST: f32 = -3.4028234663852886e38;

/**
 * One query vector over \`quads\` fours of scores, which become \`exp(score - max)\`. \`state\` holds the maximum and the sum so far.
 * Returns the factor for what was summed with the old maximum.
 */
function weigh(s: usize, quads: i32, state: usize): f32 {
  // A NaN is passed over here, and makes the sum NaN.
  let high = v128.load(s), p = s + 16, i = quads - 1;
  while (i > 0) { high = f32x4.pmax(high, v128.load(p)); p += 16; --i; }
  const before = load<f32>(state);
  const largest = max<f32>(max<f32>(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1)), max<f32>(f32x4.extract_lane(high, 2), f32x4.extract_lane(high, 3)));
  const after = max<f32>(max<f32>(before, LOWEST), largest), shift = f32x4.splat(after);
  ${EXPONENTIAL_CONSTANTS}
  let total = f32x4.splat(0);
  p = s; i = quads;
  do {
    const w = ${exponentialOf('f32x4.sub(v128.load(p), shift)')};
    v128.store(p, w); total = f32x4.add(total, w);
    p += 16;
  } while (--i);
  const sum = (f32x4.extract_lane(total, 0) + f32x4.extract_lane(total, 1)) + (f32x4.extract_lane(total, 2) + f32x4.extract_lane(total, 3));
  let factor: f32 = 1;
  if (before != after) {
    const change = f32x4.splat(before - after);
    factor = f32x4.extract_lane(${exponentialOf('change')}, 0);
  }
  store<f32>(state, after);
  store<f32>(state, load<f32>(state, 4) * factor + sum, 4);
  return factor;
}

function scaleRow(o: usize, steps: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  do { v128.store(o, f32x4.mul(v128.load(o), f)); o += 16; } while (--steps);
}

/** Whether no value is NaN or infinite. */
function allFinite(values: usize, vectors: i32): bool {
  const zero = f32x4.splat(0);
  let sum = zero;
  do { sum = f32x4.add(sum, f32x4.mul(zero, v128.load(values))); values += 16; } while (--vectors);
  return !v128.any_true(f32x4.ne(sum, sum));
}
${queryBlocks(build)
  .map((queries) => sumSource(build, queries))
  .join('')}
/** Adds to \`queries\` rows of \`o\` the sums of \`entries\` values with the weights at \`p + 4 * TILE * j\`. */
function addValues(p: usize, queries: i32, values: usize, steps: i32, entries: i32, o: usize): void {
  ${eachQueryBlock(build, (size) => `addValues${size}(p, values, steps, entries, o); p += ${4 * TILE * size}; o += <usize>steps * ${16 * size};`)}
}
`;
}

/** Blocks of `queries` rows and as many vectors of channels as registers hold sums, then single vectors. */
function sumSource(build: Build, queries: number): string {
  const wide = Math.max(2, 8 / queries);
  const block = (vectors: number) => {
    const each = (body: (query: number, vector: number) => string, separator: string) =>
      unroll(queries, (i) => unroll(vectors, (c) => body(i, c), separator), separator);
    return `
    let ${each((i, c) => `c${i}${c} = v128.load(o${i}, ${16 * c})`, ', ')}, pp = p, vp = values, i = entries;
    do {
      const ${unroll(vectors, (c) => `v${c} = v128.load(vp, ${16 * c})`, ', ')};
      let x: v128;
${unroll(queries, (i) => `      x = v128.load32_splat(pp, ${4 * TILE * i}); ${unroll(vectors, (c) => `c${i}${c} = ${multiplyAdd(build, 'x', `v${c}`, `c${i}${c}`)};`, ' ')}`)}
      pp += 4; vp += stride;
    } while (--i);
    ${each((i, c) => `v128.store(o${i}, c${i}${c}, ${16 * c});`, ' ')}
    ${unroll(queries, (i) => `o${i} += ${16 * vectors};`, ' ')} values += ${16 * vectors};`;
  };
  return `
function addValues${queries}(p: usize, values: usize, steps: i32, entries: i32, o: usize): void {
  const stride = <usize>steps << 4;
  let ${unroll(queries, (i) => `o${i} = o + ${i} * stride`, ', ')}, rest = steps;
  while (rest >= ${wide}) {${block(wide)}
    rest -= ${wide};
  }
  while (rest > 0) {${block(1)}
    --rest;
  }
}
`;
}

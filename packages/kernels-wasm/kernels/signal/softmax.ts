import { EXPONENTIAL_CONSTANTS, exponentialOf } from '../block/exponential.js';
import { vectors } from '../block/vectors.js';

/** Softmax of rows and what it is made of. Exponentials are summed in float32, 64 to a lane, and the rest in float64. */
export const SOFTMAX = `
const PIECE: i32 = 1024;
export let MINUS_INFINITY: f32 = -Infinity;

/** The largest of \`x * factor\`; NaN where one is NaN. */
export function largest(x: usize, count: i32, factor: f32): f32 {
  const f = f32x4.splat(factor), none = f32x4.splat(MINUS_INFINITY);
  let m0 = none, m1 = none, m2 = none, m3 = none, strange = f32x4.splat(0), v: v128;
  ${vectors('count', ['x'], (at, i) => `v = f32x4.mul(v128.load(x, ${at}), f); m${i} = f32x4.pmax(m${i}, v); strange = v128.or(strange, f32x4.ne(v, v));`)}
  const m = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3));
  // \`max\` gives NaN for NaN, which \`pmax\` does not.
  let result = v128.any_true(strange) ? <f32>NaN : max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
  for (let i = count & 3; i > 0; i--) { result = max(result, load<f32>(x) * factor); x += 4; }
  return result;
}

export function softmax(x: usize, out: usize, rows: i32, features: i32, factor: f32): void {
  const bytes = <usize>features << 2;
  do {
    const top = largest(x, features, factor);
    let sum: f64 = 0;
    for (let at = 0; at < features; at += PIECE) {
      const offset = <usize>at << 2;
      sum += exponentials(x + offset, out + offset, min(features - at, PIECE), factor, top);
    }
    multiply(out, features, <f32>(1 / sum));
    x += bytes; out += bytes;
  } while (--rows);
}

/** The sum of \`e^(x - top)\`. */
export function exponentialSum(x: usize, count: i32, top: f32): f64 {
  let sum: f64 = 0;
  for (; count > 0; count -= PIECE) {
    sum += pieceSum(x, min(count, PIECE), top);
    x += PIECE << 2;
  }
  return sum;
}

/** \`out = e^(x * factor - top)\`, and their sum. */
function exponentials(x: usize, out: usize, count: i32, factor: f32, top: f32): f64 {
  ${EXPONENTIAL_CONSTANTS}
  const t = f32x4.splat(top), f = f32x4.splat(factor);
  let s0 = f32x4.splat(0), s1 = s0, v: v128;
  ${vectors('count', ['x', 'out'], (at, i) => `v = f32x4.sub(f32x4.mul(v128.load(x, ${at}), f), t); v = ${exponentialOf('v')}; v128.store(out, v, ${at}); s${i} = f32x4.add(s${i}, v);`, 2)}
  if (count & 3) {
    v = f32x4.sub(f32x4.mul(loadPart(x, count & 3, f32x4.splat(0)), f), t);
    v = ${exponentialOf('v')};
    storePart(out, count & 3, v);
    s1 = f32x4.add(s1, loadPart(out, count & 3, f32x4.splat(0)));
  }
  return sumOfLanes(f32x4.add(s0, s1));
}

function pieceSum(x: usize, count: i32, top: f32): f64 {
  ${EXPONENTIAL_CONSTANTS}
  const t = f32x4.splat(top);
  let s0 = f32x4.splat(0), s1 = s0, v: v128;
  ${vectors('count', ['x'], (at, i) => `v = f32x4.sub(v128.load(x, ${at}), t); s${i} = f32x4.add(s${i}, ${exponentialOf('v')});`, 2)}
  if (count & 3) {
    v = f32x4.sub(loadPart(x, count & 3, f32x4.splat(MINUS_INFINITY)), t);
    s1 = f32x4.add(s1, ${exponentialOf('v')});
  }
  return sumOfLanes(f32x4.add(s0, s1));
}

function multiply(x: usize, count: i32, by: f32): void {
  const factor = f32x4.splat(by);
  ${vectors('count', ['x'], (at) => `v128.store(x, f32x4.mul(v128.load(x, ${at}), factor), ${at});`)}
  for (let i = count & 3; i > 0; i--) { store<f32>(x, load<f32>(x) * by); x += 4; }
}
`;

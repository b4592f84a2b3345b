import { EXPONENTIAL_CONSTANTS, exponentialOf } from '../block/exponential.js';
import { type Build, multiplyAdd } from '../unroll.js';

/** Partials of splits to those of the whole, in the order of the entries. */
export function mergeSource(build: Build): string {
  return `
/**
 * \`values [splits, vectors, d]\`, \`maxima\` and \`sums [splits, vectors]\` to the first split's place; with \`finish\`, the values
 * divided by the sums to \`out [vectors, d]\`, else all three to theirs.
 */
export function mergeSplits(values: usize, maxima: usize, sums: usize, splits: i32, vectors: i32, d: i32, finish: i32, out: usize, outMaxima: usize, outSums: usize): void {
  const row = <usize>d << 2, valueStep = <usize>vectors * row, stateStep = <usize>vectors << 2;
  for (let v = 0; v < vectors; v++) {
    let high = load<f32>(maxima), sum = load<f32>(sums), from = values, m = maxima, l = sums;
    for (let split = 1; split < splits; split++) {
      from += valueStep; m += stateStep; l += stateStep;
      const other = load<f32>(m);
      if (other == -Infinity) continue;
      const before = high;
      high = max<f32>(high, other);
      const keep = exponentialOfOne(before - high), add = exponentialOfOne(other - high);
      sum = sum * keep + load<f32>(l) * add;
      addScaled(values, keep, from, add, d);
    }
    if (finish) finishRow(values, d, high, sum, out);
    else {
      memory.copy(out, values, row);
      store<f32>(outMaxima, high); store<f32>(outSums, sum);
      outMaxima += 4; outSums += 4;
    }
    values += row; out += row; maxima += 4; sums += 4;
  }
}

function exponentialOfOne(x: f32): f32 {
  ${EXPONENTIAL_CONSTANTS}
  const all = f32x4.splat(x);
  return f32x4.extract_lane(${exponentialOf('all')}, 0);
}

/** \`a = a * keep + b * add\` */
function addScaled(a: usize, keep: f32, b: usize, add: f32, d: i32): void {
  const k = f32x4.splat(keep), f = f32x4.splat(add);
  let i = d >> 2;
  while (i > 0) {
    v128.store(a, ${multiplyAdd(build, 'v128.load(b)', 'f', 'f32x4.mul(v128.load(a), k)')});
    a += 16; b += 16; --i;
  }
  for (i = d & 3; i > 0; --i) { store<f32>(a, load<f32>(a) * keep + load<f32>(b) * add); a += 4; b += 4; }
}
`;
}

import { type Build, multiplyAdd, splat32, unroll } from '../unroll.js';

/** Rows that share the loads of a panel's column. */
const ROWS = 4;

/**
 * Adds `t wᵀ` to the output, where `t [rows, width]` has few columns: the inner side of a low-rank branch, or the columns of
 * outliers. `w` lies in panels `[panel][width][8]`.
 */
export function narrowSource(build: Build): string {
  const products = unroll(
    ROWS,
    (i) =>
      `      x = ${splat32(`t${i}`)}; ${[0, 1].map((h) => `s${i}${h} = ${multiplyAdd(build, 'x', `w${h}`, `s${i}${h}`)};`).join(' ')} t${i} += 4;`,
  );
  return `${ADD_FEATURES}
/** Tiles of ${ROWS} rows; the last row also stands for those that its tile lacks. */
export function addNarrow(w: usize, t: usize, out: usize, rows: i32, panels: i32, width: i32, features: i32, stride: i32): void {
  const step = <usize>stride << 2, size = <usize>width << 2;
  do {
    let to = out;
    for (let row = 0; row < rows; row += ${ROWS}) {
      let ${unroll(ROWS, (i) => `t${i} = t + <usize>min(row + ${i}, rows - 1) * size`, ', ')}, from = w, k = width;
      let ${unroll(ROWS, (i) => `s${i}0 = f32x4.splat(0), s${i}1 = f32x4.splat(0)`, ', ')};
      do {
        const w0 = v128.load(from), w1 = v128.load(from, 16);
        let x: v128;
${products}
        from += 32;
      } while (--k);
${unroll(ROWS, (i) => `      if (row + ${i} < rows) { addFeatures(to, s${i}0, s${i}1, features); to += step; }`)}
    }
    w += size << 3; out += 32; features -= 8;
  } while (--panels);
}

/** One row. Four chains of sums hide the latency of additions. */
export function addNarrowRow(w: usize, t: usize, out: usize, panels: i32, width: i32, features: i32): void {
  do {
    let ${unroll(4, (i) => `s${i}0 = f32x4.splat(0), s${i}1 = f32x4.splat(0)`, ', ')}, x: v128, from = t, k = width;
    for (; k >= 4; k -= 4) {
${unroll(4, (j) => `      x = ${splat32('from', 4 * j)}; ${[0, 1].map((h) => `s${j}${h} = ${multiplyAdd(build, 'x', `v128.load(w, ${32 * j + 16 * h})`, `s${j}${h}`)};`).join(' ')}`)}
      from += 16; w += 128;
    }
    for (; k > 0; k--) {
      x = ${splat32('from')}; ${[0, 1].map((h) => `s0${h} = ${multiplyAdd(build, 'x', `v128.load(w, ${16 * h})`, `s0${h}`)};`).join(' ')}
      from += 4; w += 32;
    }
    addFeatures(out, f32x4.add(f32x4.add(s00, s10), f32x4.add(s20, s30)), f32x4.add(f32x4.add(s01, s11), f32x4.add(s21, s31)), features);
    out += 32; features -= 8;
  } while (--panels);
}
`;
}

/** Nothing beyond the last feature is read or written. */
const ADD_FEATURES = `
@inline function addFeatures(out: usize, low: v128, high: v128, features: i32): void {
  if (features >= 8) {
    v128.store(out, f32x4.add(v128.load(out), low)); v128.store(out, f32x4.add(v128.load(out, 16), high), 16);
  } else addSome(out, low, high, features);
}

function addSome(out: usize, low: v128, high: v128, features: i32): void {
  if (features & 4) { v128.store(out, f32x4.add(v128.load(out), low)); low = high; out += 16; }
  if (features & 2) {
    v128.store64_lane(out, f32x4.add(v128.load64_zero(out), low), 0); low = v128.shuffle<i64>(low, low, 1, 1); out += 8;
  }
  if (features & 1) store<f32>(out, load<f32>(out) + f32x4.extract_lane(low, 0));
}
`;

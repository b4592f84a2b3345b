/**
 * Building blocks of a register-tiled matrix product on float64 panels.
 *
 * Panels hold four vectors interleaved, `panel[4 * k + i]`, so that the inner loop reads two forward streams. They are float64
 * because V8 converts every Float32Array element that it loads: converting once a panel instead of once a product measured
 * 4.0 against 3.5 GFLOP/s, and sums come out more precise.
 */

/**
 * Vectors in a panel, and rows and columns of a register tile. Inner loops that use it stay in this file: an imported binding
 * is a constant to a bundler, but a property read in module runners such as vitest's.
 */
export const TILE = 4;

/** `n` rounded up to whole panels. */
export function wholeTiles(n: number): number {
  return Math.ceil(n / TILE) * TILE;
}

/**
 * Interleaves up to four rows of `source`: row `i` starts at `start + i * stride`. Missing rows become zeros.
 * `panel` receives `4 * depth` values from `at`.
 */
export function packRows(
  source: Float32Array,
  start: number,
  stride: number,
  rows: number,
  depth: number,
  panel: Float64Array | Float32Array,
  at: number,
): void {
  for (let i = 0; i < TILE; i++) {
    if (i < rows) {
      for (let k = 0, from = start + i * stride, to = at + i; k < depth; k++, from++, to += TILE)
        panel[to] = source[from];
    } else {
      for (let k = 0, to = at + i; k < depth; k++, to += TILE) panel[to] = 0;
    }
  }
}

/**
 * Adds the product of two panels to a 4x4 tile: `out[at + i * stride + j] += sum_k a[4k + i] * b[4k + j]`.
 * Sixteen sums live in registers.
 */
export function multiplyPanels(
  a: Float64Array,
  aStart: number,
  b: Float64Array,
  bStart: number,
  depth: number,
  out: Float64Array,
  at: number,
  stride: number,
): void {
  let c00 = 0.0,
    c01 = 0.0,
    c02 = 0.0,
    c03 = 0.0;
  let c10 = 0.0,
    c11 = 0.0,
    c12 = 0.0,
    c13 = 0.0;
  let c20 = 0.0,
    c21 = 0.0,
    c22 = 0.0,
    c23 = 0.0;
  let c30 = 0.0,
    c31 = 0.0,
    c32 = 0.0,
    c33 = 0.0;
  const end = aStart + TILE * depth;
  for (let p = aStart, q = bStart; p < end; p += TILE, q += TILE) {
    const b0 = b[q];
    const b1 = b[q + 1];
    const b2 = b[q + 2];
    const b3 = b[q + 3];
    let x = a[p];
    c00 += x * b0;
    c01 += x * b1;
    c02 += x * b2;
    c03 += x * b3;
    x = a[p + 1];
    c10 += x * b0;
    c11 += x * b1;
    c12 += x * b2;
    c13 += x * b3;
    x = a[p + 2];
    c20 += x * b0;
    c21 += x * b1;
    c22 += x * b2;
    c23 += x * b3;
    x = a[p + 3];
    c30 += x * b0;
    c31 += x * b1;
    c32 += x * b2;
    c33 += x * b3;
  }
  let o = at;
  out[o] += c00;
  out[o + 1] += c01;
  out[o + 2] += c02;
  out[o + 3] += c03;
  o += stride;
  out[o] += c10;
  out[o + 1] += c11;
  out[o + 2] += c12;
  out[o + 3] += c13;
  o += stride;
  out[o] += c20;
  out[o + 1] += c21;
  out[o + 2] += c22;
  out[o + 3] += c23;
  o += stride;
  out[o] += c30;
  out[o + 1] += c31;
  out[o + 2] += c32;
  out[o + 3] += c33;
}

/** `wide[i] = narrow[start + i]` for `count` values. */
export function widen(narrow: Float32Array, start: number, count: number, wide: Float64Array): void {
  for (let i = 0; i < count; i++) wide[i] = narrow[start + i];
}

/**
 * Products of one vector with two neighbouring float32 panels (or one, when `panels` is 1): `sums` receives eight (or four)
 * values. Eight independent sums hide the latency of additions.
 */
export function multiplyVectorPanels(
  data: Float32Array,
  start: number,
  vector: Float64Array,
  depth: number,
  panels: 1 | 2,
  sums: Float64Array,
): void {
  let s0 = 0.0;
  let s1 = 0.0;
  let s2 = 0.0;
  let s3 = 0.0;
  if (panels === 1) {
    for (let k = 0, p = start; k < depth; k++, p += TILE) {
      const x = vector[k];
      s0 += x * data[p];
      s1 += x * data[p + 1];
      s2 += x * data[p + 2];
      s3 += x * data[p + 3];
    }
  } else {
    let s4 = 0.0;
    let s5 = 0.0;
    let s6 = 0.0;
    let s7 = 0.0;
    for (let k = 0, p = start, q = start + TILE * depth; k < depth; k++, p += TILE, q += TILE) {
      const x = vector[k];
      s0 += x * data[p];
      s1 += x * data[p + 1];
      s2 += x * data[p + 2];
      s3 += x * data[p + 3];
      s4 += x * data[q];
      s5 += x * data[q + 1];
      s6 += x * data[q + 2];
      s7 += x * data[q + 3];
    }
    sums[4] = s4;
    sums[5] = s5;
    sums[6] = s6;
    sums[7] = s7;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

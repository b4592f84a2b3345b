import { DEPTH, PANEL, tileRows } from '../../src/internal/layout.js';
import { type Build, multiplyAdd, splat32, unroll } from '../unroll.js';

/**
 * Float32 products. A weight is panels of 8 rows, `[panel][column][8]`; `x` is packed in tiles, `[depth block][tile][column][rows]`.
 * Sums live in panels `[panel][row][8]` that start as the bias.
 */
export function floatSource(build: Build): string {
  const rows = tileRows(build);
  return `
export function tileRows(): i32 { return ${rows}; }

export function fillBias(bias: usize, c: usize, rows: i32, panels: i32): void {
  do {
    const low = v128.load(bias), high = v128.load(bias, 16);
    let row = rows;
    do { v128.store(c, low); v128.store(c, high, 16); c += 32; } while (--row);
    bias += 32;
  } while (--panels);
}

/** From panels of \`stride\` rows to row-major \`out [rows, features]\`. */
export function unpackSums(c: usize, stride: i32, out: usize, rows: i32, features: i32): void {
  const whole = features >> 3, rest = features & 7, step = <usize>stride << 5;
  do {
    let from = c;
    for (let panel = whole; panel > 0; panel--) {
      v128.store(out, v128.load(from)); v128.store(out, v128.load(from, 16), 16);
      from += step; out += 32;
    }
    for (let i = 0; i < rest; i++) { store<f32>(out, load<f32>(from)); from += 4; out += 4; }
    c += 32;
  } while (--rows);
}

/** \`x [tiles * ${rows}, k]\` to tiles. */
export function packTiles(x: usize, tiles: i32, k: i32, out: usize): void {
  const row = <usize>k << 2;
  for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
    const depth = min(k - k0, ${DEPTH});
    let from = x + (<usize>k0 << 2);
    for (let tile = tiles; tile > 0; tile--) {
      let ${unroll(rows, (i) => `p${i} = from + ${i} * row`, ', ')}, i = depth;
      do {
${unroll(rows, (i) => `        store<f32>(out, load<f32>(p${i}), ${4 * i}); p${i} += 4;`)}
        out += ${4 * rows};
      } while (--i);
      from += ${rows} * row;
    }
  }
}

function floatTile(a: usize, w: usize, depth: i32, c: usize): void {
  let ${unroll(rows, (i) => `c${i}0 = v128.load(c, ${32 * i}), c${i}1 = v128.load(c, ${32 * i + 16})`, ', ')};
  do {
    const w0 = v128.load(w), w1 = v128.load(w, 16);
    let x: v128;
${unroll(rows, (i) => `    x = ${splat32('a', 4 * i)}; ${[0, 1].map((h) => `c${i}${h} = ${multiplyAdd(build, 'x', `w${h}`, `c${i}${h}`)};`).join(' ')}`)}
    a += ${4 * rows}; w += 32;
  } while (--depth);
${unroll(rows, (i) => `  v128.store(c, c${i}0, ${32 * i}); v128.store(c, c${i}1, ${32 * i + 16});`)}
}

function floatTiles(a: usize, w: usize, depth: i32, c: usize, tiles: i32): void {
  do {
    floatTile(a, w, depth, c);
    a += <usize>depth * ${4 * rows}; c += ${rows * PANEL * 4};
  } while (--tiles);
}

export function floatGemm(a: usize, w: usize, c: usize, tiles: i32, panels: i32, k: i32): void {
  const panelBytes = <usize>k << 5, sumBytes = <usize>tiles * ${rows * PANEL * 4};
  for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
    const depth = min(k - k0, ${DEPTH});
    let wp = w + (<usize>k0 << 5), cp = c;
    for (let panel = panels; panel > 0; panel--) {
      floatTiles(a, wp, depth, cp, tiles);
      wp += panelBytes; cp += sumBytes;
    }
    a += <usize>tiles * <usize>depth * ${4 * rows};
  }
}

/** One row; \`k\` is a multiple of 4. Four chains of sums hide the latency of additions. */
export function floatGemv(w: usize, x: usize, y: usize, panels: i32, k: i32): void {
  do {
    let s00 = v128.load(y), s01 = v128.load(y, 16), ${unroll(3, (i) => `s${i + 1}0 = f32x4.splat(0), s${i + 1}1 = f32x4.splat(0)`, ', ')};
    let xp = x, i = k >> 2;
    do {
      let v: v128;
${unroll(4, (j) => `      v = ${splat32('xp', 4 * j)}; ${[0, 1].map((h) => `s${j}${h} = ${multiplyAdd(build, 'v', `v128.load(w, ${32 * j + 16 * h})`, `s${j}${h}`)};`).join(' ')}`)}
      xp += 16; w += 128;
    } while (--i);
    v128.store(y, f32x4.add(f32x4.add(s00, s10), f32x4.add(s20, s30)));
    v128.store(y, f32x4.add(f32x4.add(s01, s11), f32x4.add(s21, s31)), 16);
    y += 32;
  } while (--panels);
}
`;
}

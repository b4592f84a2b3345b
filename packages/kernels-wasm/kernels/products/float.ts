import { DEPTH, GROUP_PANELS, PANEL, tileRows } from '../../src/internal/layout.js';
import { type Build, multiplyAdd, splat32, unroll } from '../unroll.js';

/**
 * Float32 products. A weight is panels of 8 rows, `[panel][column][8]`; `x` is packed in tiles, `[depth block][tile][column][rows]`.
 * Sums lie in scratch memory, `[panel of a group][row][8]`, start as the bias and go to the output at the end.
 */
export function floatSource(build: Build): string {
  return packSource(build) + tileSource(build) + gemmSource(build) + gemvSource(build);
}

function packSource(build: Build): string {
  const rows = tileRows(build);
  return `
export function tileRows(): i32 { return ${rows}; }

/** \`tiles\` of \`allTiles\` tiles of \`x [rows, k]\`, from \`first\` on. The last row also stands for those that its tile lacks. */
export function packTiles(x: usize, rows: i32, first: i32, tiles: i32, allTiles: i32, k: i32, out: usize): void {
  const rowBytes = <usize>k << 2;
  for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
    const depth = min(k - k0, ${DEPTH}), from = x + (<usize>k0 << 2);
    let to = out + (<usize>allTiles * k0 + <usize>first * depth) * ${4 * rows};
    for (let row = first * ${rows}, end = row + tiles * ${rows}; row < end; row += ${rows}) {
      let ${unroll(rows, (i) => `p${i} = from + <usize>min(row + ${i}, rows - 1) * rowBytes`, ', ')}, i = depth;
      do {
${unroll(rows, (i) => `        store<f32>(to, load<f32>(p${i}), ${4 * i}); p${i} += 4;`)}
        to += ${4 * rows};
      } while (--i);
    }
  }
}
`;
}

function tileSource(build: Build): string {
  const rows = tileRows(build);
  return `
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
`;
}

function gemmSource(build: Build): string {
  return `${floatGemmSource(build, {
    name: 'floatGemm',
    parameters: '',
    panelBytes: '<usize>k << 5',
    start: 'w + (<usize>k0 << 5)',
    panel: 'wp',
  })}`;
}

/** The parts of a product with many rows that depend on how the weight is held. */
export interface FloatPanels {
  readonly name: string;
  readonly parameters: string;
  readonly panelBytes: string;
  /** Where column \`k0\` of the panel at \`w\` starts. */
  readonly start: string;
  /** The address of \`depth\` float columns of the panel of which \`wp\` is that place. */
  readonly panel: string;
}

/** Many rows: groups of panels, so that a depth block of the tiles is used several times while it is in a near cache. */
export function floatGemmSource(build: Build, { name, parameters, panelBytes, start, panel }: FloatPanels): string {
  const rows = tileRows(build);
  return `
/** \`scratch\` holds the sums of ${GROUP_PANELS} panels, then a panel of ${DEPTH} columns. */
export function ${name}(w: usize, tiles: usize, out: usize, rows: i32, panels: i32, k: i32, bias: usize, features: i32, stride: i32, scratch: usize${parameters}): void {
  const count = (rows + ${rows - 1}) / ${rows}, panelBytes: usize = ${panelBytes}, sumBytes = <usize>count * ${rows * PANEL * 4};
  const floats = scratch + sumBytes * ${GROUP_PANELS};
  do {
    const group = min(panels, ${GROUP_PANELS});
    let sums = scratch, a = tiles;
    for (let i = group; i > 0; i--) { fillSums(sums, bias, count * ${rows}); sums += sumBytes; bias += 32; }
    for (let k0 = 0; k0 < k; k0 += ${DEPTH}) {
      const depth = min(k - k0, ${DEPTH});
      let wp = ${start};
      sums = scratch;
      for (let i = group; i > 0; i--) {
        floatTiles(a, ${panel}, depth, sums, count);
        wp += panelBytes; sums += sumBytes;
      }
      a += <usize>count * <usize>depth * ${4 * rows};
    }
    w += panelBytes * group; sums = scratch;
    for (let i = group; i > 0; i--) {
      storeSums(sums, out, rows, stride, features);
      sums += sumBytes; out += 32; features -= 8;
    }
    panels -= group;
  } while (panels > 0);
}
`;
}

/** One row; \`k\` is a multiple of 4. Four chains of sums hide the latency of additions. */
function gemvSource(build: Build): string {
  const columns = unroll(
    4,
    (j) =>
      `    v = ${splat32('x', 4 * j)}; ${[0, 1].map((h) => `s${j}${h} = ${multiplyAdd(build, 'v', `v128.load(w, ${32 * j + 16 * h})`, `s${j}${h}`)};`).join(' ')}`,
  );
  return `
function floatColumns(w: usize, x: usize, k: i32, sums: usize): void {
  let s00 = v128.load(sums), s01 = v128.load(sums, 16), ${unroll(3, (i) => `s${i + 1}0 = f32x4.splat(0), s${i + 1}1 = f32x4.splat(0)`, ', ')};
  k >>= 2;
  do {
    let v: v128;
${columns}
    x += 16; w += 128;
  } while (--k);
  v128.store(sums, f32x4.add(f32x4.add(s00, s10), f32x4.add(s20, s30)));
  v128.store(sums, f32x4.add(f32x4.add(s01, s11), f32x4.add(s21, s31)), 16);
}

/** \`scratch\` holds 32 bytes. */
export function floatGemv(w: usize, x: usize, out: usize, panels: i32, k: i32, bias: usize, features: i32, scratch: usize): void {
  do {
    fillSums(scratch, bias, 1);
    floatColumns(w, x, k, scratch);
    storeSums(scratch, out, 1, 0, features);
    w += <usize>k << 5; bias += 32; out += 32; features -= 8;
  } while (--panels);
}
`;
}

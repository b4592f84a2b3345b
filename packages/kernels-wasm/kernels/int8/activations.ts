import { TILE_ROWS } from '../../src/internal/int8-layout.js';
import { type Build, unroll } from '../unroll.js';

/** Activations to 8-bit codes, and codes to what the product kernels read. */
export function activationsSource(build: Build): string {
  return QUANTIZE + GROUP_SUMS + PACK_TILES + PACK_WORDS + (build === 'relaxed' ? PACK_BYTES : PACK_NIBBLE_WORDS);
}

/**
 * A row with a NaN has the scale NaN. Without a fixed scale a row with an infinity has an infinite scale and codes of 0, so
 * that its products become NaN too.
 */
const QUANTIZE = `
@inline function rounded(x: v128, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, inverse)));
}

/** \`fixed\` is the scale, or 0 for \`max |x| / 127\` of each row. Codes from \`columns\` to \`stride\` are 0. */
export function quantizeRows(x: usize, rows: i32, columns: i32, fixed: f32, codes: usize, stride: i32, scales: usize): void {
  const lowest = i8x16.splat(<i8>LOWEST_CODE);
  do {
    let m0 = f32x4.splat(0), m1 = m0, from = x, k = columns;
    for (; k >= 8; k -= 8) {
      m0 = f32x4.max(m0, f32x4.abs(v128.load(from))); m1 = f32x4.max(m1, f32x4.abs(v128.load(from, 16)));
      from += 32;
    }
    for (; k > 0; k--) { m0 = f32x4.max(m0, f32x4.abs(v128.load32_zero(from))); from += 4; }
    m0 = f32x4.max(m0, m1);
    m0 = f32x4.max(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
    const largest = f32x4.extract_lane(f32x4.max(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2)), 0);
    let factor: f32 = 0;
    if (fixed != 0) factor = 1 / fixed;
    else if (largest != 0) factor = 127 / largest;
    store<f32>(scales, fixed == 0 ? largest / 127 : largest == largest ? fixed : largest);
    const inverse = f32x4.splat(factor), end = codes + <usize>stride;
    let to = codes;
    for (k = columns; k >= 16; k -= 16) {
${unroll(4, (i) => `      const r${i} = rounded(v128.load(x, ${16 * i}), inverse);`)}
      const narrow = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(r0, r1), i16x8.narrow_i32x4_s(r2, r3));
      v128.store(to, i8x16.max_s(narrow, lowest));
      x += 64; to += 16;
    }
    for (; k > 0; k--) {
      const code = i32x4.extract_lane(rounded(v128.load32_zero(x), inverse), 0);
      store<i8>(to, <i8>min(max(code, -127), 127));
      x += 4; to += 1;
    }
    for (; to < end; to++) store<i8>(to, 0);
    codes = end; scales += 4;
  } while (--rows);
}
`;

const GROUP_SUMS = `
/** \`out\` is \`[group][row]\` of \`allRows\` rows. */
export function groupSums(codes: usize, rows: i32, depth: i32, groups: i32, blocks: i32, allRows: i32, out: usize): void {
  do {
    let to = out, g = groups, from = codes;
    do {
      let sum = i32x4.splat(0), b = blocks;
      do {
        const pairs = i16x8.add(i16x8.extadd_pairwise_i8x16_s(v128.load(from)), i16x8.extadd_pairwise_i8x16_s(v128.load(from, 16)));
        sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(pairs));
        from += 32;
      } while (--b);
      sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
      store<i32>(to, i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1));
      to += <usize>allRows << 2;
    } while (--g);
    codes += depth; out += 4;
  } while (--rows);
}
`;

const transposed = (from: string, to: number) => `
      v128.store(out, v128.shuffle<i64>(${from}0, ${from}1, 0, 2), ${to}); v128.store(out, v128.shuffle<i64>(${from}0, ${from}1, 1, 3), ${to + 16});`;

const PACK_TILES = `
/** Tiles from \`first\` on, \`[tile][pair of columns][${TILE_ROWS} rows][2]\`. The last row also stands for those that its tile lacks. */
export function packTiles(codes: usize, rows: i32, first: i32, tiles: i32, depth: i32, out: usize): void {
  for (let row = first * ${TILE_ROWS}, end = row + tiles * ${TILE_ROWS}; row < end; row += ${TILE_ROWS}) {
    let ${unroll(TILE_ROWS, (i) => `p${i} = codes + <usize>min(row + ${i}, rows - 1) * depth`, ', ')}, k = depth;
    do {
${unroll(TILE_ROWS, (i) => `      const r${i} = v128.load8x8_s(p${i}); p${i} += 8;`)}
      const low0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5), low1 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
      const high0 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7), high1 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);${transposed('low', 0)}${transposed('high', 32)}
      out += 64;
    } while (k -= 8);
  }
}
`;

const PACK_WORDS = `
/** One row. */
export function packWords(codes: usize, blocks: i32, out: usize): void {
  do {
${unroll(4, (i) => `    v128.store(out, v128.load8x8_s(codes, ${8 * i}), ${16 * i});`)}
    codes += 32; out += 64;
  } while (--blocks);
}
`;

const PACK_BYTES = `
/** \`rows\` of \`allRows\` rows, \`[block][row][32]\`. */
export function packBytes(codes: usize, rows: i32, allRows: i32, blocks: i32, out: usize): void {
  const step = <usize>allRows << 5;
  do {
    let to = out, b = blocks;
    do {
      v128.store(to, v128.load(codes)); v128.store(to, v128.load(codes, 16), 16);
      codes += 32; to += step;
    } while (--b);
    out += 32;
  } while (--rows);
}
`;

/** In the order of the masks of the one-row kernel, with what their products lack of a common factor of 256. */
const PACK_NIBBLE_WORDS = `
/** One row. */
export function packNibbleWords(codes: usize, blocks: i32, out: usize): void {
  do {
    let low: v128, high: v128;
${unroll(
  2,
  (i) => `    low = v128.load8x8_s(codes, ${8 * i}); high = v128.load8x8_s(codes, ${16 + 8 * i});
${unroll(2, (j) => `    v128.store(out, i16x8.mul(v128.shuffle<i64>(low, high, ${j}, ${2 + j}), i16x8(256, 256, 1, 1, 16, 16, 256, 256)), ${32 * i + 16 * j});`)}`,
)}
    codes += 32; out += 64;
  } while (--blocks);
}
`;

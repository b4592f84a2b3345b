import { SPARSE_ROWS as ROWS } from '../../src/internal/side-kernels.js';
import { type Build, multiplyAdd, splat32, unroll } from '../unroll.js';

/**
 * Adds a sparse weight's part to the output. Entries are a column and a value each, in the order of the rows of the weight;
 * `pointers` count them. Lanes are rows of `x`, which are brought together column by column first.
 */
export function sparseSource(build: Build): string {
  const add = (entry: number) =>
    `at = tile + (<usize>load<u32>(e, ${8 * entry}) << 5); v = ${splat32('e', 8 * entry + 4)}; ${[0, 1]
      .map((h) => `s${entry}${h} = ${multiplyAdd(build, 'v', `v128.load(at, ${16 * h})`, `s${entry}${h}`)};`)
      .join(' ')}`;
  return `
/** \`x [rows, columns]\` to \`tiles\` tiles from \`first\` on, \`[tile][column][${ROWS}]\`. The last row also stands for those that its tile lacks. */
export function packColumns(x: usize, rows: i32, first: i32, tiles: i32, columns: i32, out: usize): void {
  const step = <usize>columns << 2;
  for (let row = first * ${ROWS}, end = row + tiles * ${ROWS}; row < end; row += ${ROWS}) {
    let ${unroll(ROWS, (i) => `p${i} = x + <usize>min(row + ${i}, rows - 1) * step`, ', ')}, k = columns;
    do {
${unroll(ROWS, (i) => `      store<f32>(out, load<f32>(p${i}), ${4 * i}); p${i} += 4;`)}
      out += ${4 * ROWS};
    } while (--k);
  }
}

export function addSparse(pointers: usize, entries: usize, tiles: usize, out: usize, rows: i32, features: i32, columns: i32, stride: i32): void {
  const step = <usize>stride << 2;
  let tile = tiles;
  do {
    let p = pointers, to = out, f = features;
    do {
      let e = entries + (<usize>load<u32>(p) << 3);
      const end = entries + (<usize>load<u32>(p, 4) << 3);
      if (e < end) {
        let s00 = f32x4.splat(0), s01 = s00, s10 = s00, s11 = s00, v: v128, at: usize;
        for (; e + 8 < end; e += 16) {
          ${add(0)}
          ${add(1)}
        }
        if (e < end) { ${add(0)} }
        addRows(to, step, rows, f32x4.add(s00, s10), f32x4.add(s01, s11));
      }
      p += 4; to += 4;
    } while (--f);
    tile += <usize>columns * ${4 * ROWS}; out += step * ${ROWS}; rows -= ${ROWS};
  } while (rows > 0);
}

function addRows(out: usize, step: usize, rows: i32, low: v128, high: v128): void {
${unroll(ROWS, (i) => `  if (rows > ${i}) { store<f32>(out, load<f32>(out) + f32x4.extract_lane(${i < 4 ? 'low' : 'high'}, ${i % 4})); out += step; }`)}
}

/** One row. */
export function addSparseRow(pointers: usize, entries: usize, x: usize, out: usize, features: i32): void {
  do {
    let e = entries + (<usize>load<u32>(pointers) << 3);
    const end = entries + (<usize>load<u32>(pointers, 4) << 3);
    if (e < end) {
      let ${unroll(4, (i) => `s${i}: f32 = 0`, ', ')};
      for (; e + 24 < end; e += 32) {
${unroll(4, (i) => `        s${i} += load<f32>(x + (<usize>load<u32>(e, ${8 * i}) << 2)) * load<f32>(e, ${8 * i + 4});`)}
      }
      for (; e < end; e += 8) s0 += load<f32>(x + (<usize>load<u32>(e) << 2)) * load<f32>(e, 4);
      store<f32>(out, load<f32>(out) + ((s0 + s1) + (s2 + s3)));
    }
    pointers += 4; out += 4;
  } while (--features);
}
`;
}

/** Columns of \`x\` picked and multiplied before a product. */
export const COLUMNS_SOURCE = `
/** \`out[r, k] = x[r, order[k]] * factors[k]\` for \`count\` columns; a row of \`x\` has \`columns\`. */
export function gatherColumns(x: usize, rows: i32, columns: i32, order: usize, factors: usize, count: i32, out: usize): void {
  const step = <usize>columns << 2, size = <usize>count << 2;
  do {
    for (let k: usize = 0; k < size; k += 4) {
      store<f32>(out + k, load<f32>(x + (<usize>load<u32>(order + k) << 2)) * load<f32>(factors + k));
    }
    x += step; out += size;
  } while (--rows);
}

/** \`out[r, k] = x[r, k] * factors[k]\` */
export function scaleColumns(x: usize, rows: i32, columns: i32, factors: usize, out: usize): void {
  do {
    let f = factors, k = columns;
    for (; k >= 4; k -= 4) {
      v128.store(out, f32x4.mul(v128.load(x), v128.load(f)));
      x += 16; out += 16; f += 16;
    }
    for (; k > 0; k--) {
      store<f32>(out, load<f32>(x) * load<f32>(f));
      x += 4; out += 4; f += 4;
    }
  } while (--rows);
}
`;

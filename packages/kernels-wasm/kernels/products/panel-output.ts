/**
 * From the sums of a panel to row-major output. \`features\` counts the valid features from the panel's first one on: nothing is
 * written beyond them.
 */
export const PANEL_OUTPUT = `
@inline function storeFeatures(out: usize, low: v128, high: v128, features: i32): void {
  if (features >= 8) { v128.store(out, low); v128.store(out, high, 16); }
  else storeSome(out, low, high, features);
}

function storeSome(out: usize, low: v128, high: v128, features: i32): void {
  if (features & 4) { v128.store(out, low); low = high; out += 16; }
  if (features & 2) { v128.store64_lane(out, low, 0); low = v128.shuffle<i64>(low, low, 1, 1); out += 8; }
  if (features & 1) v128.store32_lane(out, low, 0);
}

function fillSums(sums: usize, bias: usize, rows: i32): void {
  const low = v128.load(bias), high = v128.load(bias, 16);
  do { v128.store(sums, low); v128.store(sums, high, 16); sums += 32; } while (--rows);
}

/** \`sums [rows, 8]\`; \`stride\` is the length of a row of \`out\`. */
function storeSums(sums: usize, out: usize, rows: i32, stride: i32, features: i32): void {
  const step = <usize>stride << 2;
  do { storeFeatures(out, v128.load(sums), v128.load(sums, 16), features); sums += 32; out += step; } while (--rows);
}
`;

import { BLOCK } from '../../src/internal/layout.js';
import { unroll } from '../unroll.js';

/** Rows to signed 8-bit codes with a scale for each run of 32, which are those of the products module. */
export const QUANTIZE = `
export function quantize(x: usize, codes: usize, scales: usize, rows: i32, features: i32): void {
  do {
    for (let left = features; left > 0; left -= ${BLOCK}) {
      const count = min(left, ${BLOCK});
      if (count == ${BLOCK}) quantizeRun(x, codes, scales);
      else quantizePart(x, codes, scales, count);
      x += <usize>count << 2; codes += count; scales += 4;
    }
  } while (--rows);
}

@inline function inverseOf(largest: f32): f32 { return largest == 0 ? 0 : <f32>127 / largest; }
@inline function rounded(v: v128): v128 { return i32x4.trunc_sat_f32x4_s(f32x4.nearest(v)); }

function quantizeRun(x: usize, codes: usize, scale: usize): void {
  let m0 = f32x4.abs(v128.load(x)), m1 = f32x4.abs(v128.load(x, 16));
${unroll(3, (i) => `  m0 = f32x4.max(m0, f32x4.abs(v128.load(x, ${32 * i + 32}))); m1 = f32x4.max(m1, f32x4.abs(v128.load(x, ${32 * i + 48})));`)}
  m0 = f32x4.max(m0, m1);
  m0 = f32x4.max(m0, v128.shuffle<f32>(m0, m0, 2, 3, 0, 1));
  const largest = f32x4.extract_lane(f32x4.max(m0, v128.shuffle<f32>(m0, m0, 1, 0, 3, 2)), 0);
  const inverse = f32x4.splat(inverseOf(largest));
  store<f32>(scale, largest * <f32>(1.0 / 127));
${unroll(8, (i) => `  const r${i} = rounded(f32x4.mul(v128.load(x, ${16 * i}), inverse));`)}
${unroll(2, (i) => `  v128.store(codes, i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(r${4 * i}, r${4 * i + 1}), i16x8.narrow_i32x4_s(r${4 * i + 2}, r${4 * i + 3})), ${16 * i});`)}
}

function quantizePart(x: usize, codes: usize, scale: usize, count: i32): void {
  let largest: f32 = 0;
  for (let i = 0; i < count; i++) largest = max(largest, abs(load<f32>(x + (<usize>i << 2))));
  const inverse = inverseOf(largest);
  store<f32>(scale, largest * <f32>(1.0 / 127));
  for (let i = 0; i < count; i++) {
    const code = i32x4.extract_lane(rounded(f32x4.splat(load<f32>(x + (<usize>i << 2)) * inverse)), 0);
    store<i8>(codes + i, max(min(code, 127), -128));
  }
}
`;

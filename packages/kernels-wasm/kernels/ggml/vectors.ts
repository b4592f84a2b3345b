/** Masks, exported mutable for the reason given at `CONSTANTS`. */
export const VECTORS = `
export let LOW_NIBBLES: i32 = 0x0f0f0f0f;
export let LOW_PAIRS: i32 = 0x03030303;
export let LOW_BITS: i32 = 0x01010101;
export let FOURS: i32 = 0x44444444;
export let SIXTEENS: i32 = 0x10101010;
export let POWERS: i64 = 0x8040201008040201;
export let MAGNITUDE: i32 = 0x7fff;
export let LARGEST_FINITE: i32 = 0x0f7fffff;
export let INFINITY: i32 = 0x7f800000;
export let REBIAS: i32 = 0x77800000;

/** Binary16 in the low halves of 32-bit lanes to float32: the exponent's bias changes by 112, infinities and NaN stay. */
function halves(words: v128): v128 {
  const magnitude = i32x4.shl(v128.and(words, i32x4.splat(MAGNITUDE)), 13);
  const special = v128.and(i32x4.gt_s(magnitude, i32x4.splat(LARGEST_FINITE)), i32x4.splat(INFINITY));
  const sign = i32x4.shl(i32x4.shr_u(words, 15), 31);
  return v128.or(v128.or(f32x4.mul(magnitude, i32x4.splat(REBIAS)), special), sign);
}

/** Four bytes to float32. */
function unsignedBytes(bytes: u32): v128 {
  return f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(i32x4.splat(bytes))));
}

function signedBytes(bytes: u32): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(i32x4.splat(bytes))));
}

/** One element a lane. */
function lanes(a: u32, b: u32, c: u32, d: u32): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(a), 1, b), 2, c), 3, d);
}
`;

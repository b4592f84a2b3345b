import { unroll } from '../unroll.js';

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

/** Codes of 2 bits of 32 columns, one a byte, to eight bytes: byte \`i\` has columns \`i\`, \`8 + i\`, \`16 + i\`, \`24 + i\` from the lowest bits. */
function fourInByte(first: v128, second: v128): v128 {
  const pairs = v128.or(first, i16x8.shl(second, 4));
  return v128.or(pairs, i16x8.shl(i64x2.shuffle(pairs, pairs, 1, 1), 2));
}

/** One element a lane. */
function lanes(a: u32, b: u32, c: u32, d: u32): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(a), 1, b), 2, c), 3, d);
}
`;

/** Stores the first columns of four vectors, each of which is a row of 32-bit lanes: two of them, or all four. */
export function storeColumns(rows: readonly string[], to: string, offsets: readonly number[]): string {
  const [a, b, c, d] = rows;
  const column = (i: number) => {
    const pair = i < 2 ? 'Low' : 'High';
    const [x, y] = i % 2 === 0 ? [0, 2] : [1, 3];
    return `v128.store(${to}, i64x2.shuffle(ab${pair}, cd${pair}, ${x}, ${y}), ${offsets[i]});`;
  };
  const high = 'const abHigh = i32x4.shuffle(ab0, ab1, 2, 6, 3, 7), cdHigh = i32x4.shuffle(cd0, cd1, 2, 6, 3, 7);';
  return `{
      const ab0 = ${a}, ab1 = ${b}, cd0 = ${c}, cd1 = ${d};
      const abLow = i32x4.shuffle(ab0, ab1, 0, 4, 1, 5), cdLow = i32x4.shuffle(cd0, cd1, 0, 4, 1, 5);
      ${offsets.length > 2 ? high : ''}
      ${unroll(offsets.length, column, '\n      ')}
    }`;
}

/** The same expression of `p0` to `p3`, the pointers to four rows. */
export function ofRows(expression: (pointer: string) => string): string[] {
  return [0, 1, 2, 3].map((row) => expression(`p${row}`));
}
